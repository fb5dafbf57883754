variable "name" {
  description = "Name of the function."
  type        = string
  nullable    = false
}

variable "network" {
  description = "The network module: the function stands in its subnets, and in its group function."
  nullable    = false
  type = object({
    subnet_ids         = list(string)
    security_group_ids = map(string)
    log_key_arn        = string
  })
}

variable "connection" {
  description = "Where to connect to: the database module's connection or the proxy module's."
  nullable    = false
  type = object({
    host              = string
    port              = number
    database          = string
    rds_db_arn_prefix = string
    ca_file           = string
    max_clients       = number
  })
}

variable "application" {
  description = "The bootstrap module's application: the user to connect as."
  nullable    = false
  type = object({
    user       = string
    secret_arn = string
    key_arn    = string
  })
}

variable "auth" {
  description = "iam: a token signed for each connection. secret: the user's password, read from its secret at run time."
  type        = string
  nullable    = false
  default     = "iam"

  validation {
    condition     = contains(["iam", "secret"], var.auth)
    error_message = "auth must be iam or secret."
  }
}

variable "package" {
  description = "Zip of the function's code."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists(var.package)
    error_message = "package ${var.package} does not exist: run make package."
  }
}

variable "layer" {
  description = "Zip of the layer, of runtime.architecture."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists(var.layer)
    error_message = "layer ${var.layer} does not exist: run make package."
  }
}

variable "runtime" {
  description = "What runs the code."
  nullable    = false
  default     = {}
  type = object({
    name            = optional(string, "python3.13")
    architecture    = optional(string, "x86_64")
    handler         = optional(string, "handler.handler")
    memory_mb       = optional(number, 256)
    timeout_seconds = optional(number, 15)
  })

  validation {
    condition     = contains(["arm64", "x86_64"], var.runtime.architecture)
    error_message = "runtime.architecture must be arm64 or x86_64."
  }
}

variable "reserved_concurrency" {
  description = "How many execution environments there may be; each holds one connection."
  type        = number
  nullable    = false

  validation {
    condition     = var.reserved_concurrency >= 1
    error_message = "reserved_concurrency must be at least 1."
  }
}

variable "environment" {
  description = "Further environment variables. No secrets: whoever may see the function sees them."
  type        = map(string)
  nullable    = false
  default     = {}
}

variable "log_retention_days" {
  description = "How long the function's log is kept."
  type        = number
  nullable    = false
  default     = 365
}
