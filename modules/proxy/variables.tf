variable "name" {
  description = "Name of the proxy, such as app-prod."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z](-?[a-zA-Z0-9]+)*$", var.name)) && length(var.name) <= 63
    error_message = "name must be letters, digits and single hyphens, begin with a letter, and have at most 63 characters."
  }
}

variable "network" {
  description = "The network module: the proxy stands in its subnets, and in its group proxy."
  nullable    = false
  type = object({
    subnet_ids         = list(string)
    security_group_ids = map(string)
    log_key_arn        = string
  })
}

variable "database" {
  description = "The database module: the instance whose connections are shared."
  nullable    = false
  type = object({
    identifier = string
    connection = object({ database = string })
  })
}

variable "application" {
  description = "The bootstrap module's application: with this secret the proxy logs in to the instance."
  nullable    = false
  type = object({
    secret_arn = string
    key_arn    = string
  })
}

variable "pool" {
  description = "How the proxy shares the database's connections among its clients."
  nullable    = false
  default     = {}
  type = object({
    max_percent            = optional(number, 90)
    max_idle_percent       = optional(number, 45)
    borrow_timeout_seconds = optional(number, 5)
  })

  validation {
    condition     = var.pool.max_percent >= 1 && var.pool.max_percent <= 100
    error_message = "pool.max_percent must be from 1 to 100."
  }

  validation {
    condition     = var.pool.max_idle_percent <= var.pool.max_percent
    error_message = "pool.max_idle_percent must not be greater than pool.max_percent."
  }

  validation {
    condition     = var.pool.borrow_timeout_seconds >= 1 && var.pool.borrow_timeout_seconds <= 300
    error_message = "pool.borrow_timeout_seconds must be from 1 to 300: with 0 the pool could not grow for those who wait."
  }
}

variable "idle_client_timeout_seconds" {
  description = "After this long without a query a client is disconnected."
  type        = number
  nullable    = false
  default     = 1800

  validation {
    condition     = var.idle_client_timeout_seconds >= 60 && var.idle_client_timeout_seconds <= 28800
    error_message = "idle_client_timeout_seconds must be from 60 to 28800 (8 hours)."
  }
}

variable "log_retention_days" {
  description = "How long the proxy's log is kept."
  type        = number
  nullable    = false
  default     = 365
}
