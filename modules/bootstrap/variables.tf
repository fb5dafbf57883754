variable "name" {
  description = "Prefix of everything made here, such as app-prod."
  type        = string
  nullable    = false
}

variable "network" {
  description = "The network module: the function stands in its subnets, and in its group bootstrap."
  nullable    = false
  type = object({
    subnet_ids         = list(string)
    security_group_ids = map(string)
    log_key_arn        = string
  })
}

variable "database" {
  description = "The database module: reached directly, never through a proxy."
  nullable    = false
  type = object({
    connection = object({
      host     = string
      port     = number
      database = string
      ca_file  = string
    })
    master_secret_arn = string
    key_arn           = string
  })
}

variable "user" {
  description = "The application's database user, made here."
  type        = string
  nullable    = false
  default     = "app"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,62}$", var.user)) && !contains(["master", "rdsadmin", "rdsproxyadmin"], var.user)
    error_message = "user must be a lower-case PostgreSQL name, and none of master, rdsadmin, rdsproxyadmin."
  }
}

variable "auth" {
  description = "How the user logs in to the instance itself: iam for functions that connect directly; password behind the proxy, which logs in with the secret."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["iam", "password"], var.auth)
    error_message = "auth must be iam or password."
  }
}

variable "package" {
  description = "Zip of the bootstrap function and its migrations."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists(var.package)
    error_message = "package ${var.package} does not exist: run make package."
  }
}

variable "layer" {
  description = "Zip of the layer (x86_64)."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists(var.layer)
    error_message = "layer ${var.layer} does not exist: run make package."
  }
}

variable "log_retention_days" {
  description = "How long the function's log is kept."
  type        = number
  nullable    = false
  default     = 365
}
