variable "name" {
  description = "Prefix of everything made here, such as app-prod."
  type        = string
  nullable    = false
}

variable "network" {
  description = "The network module: the function stands in its subnets, and in its group bootstrap."
  nullable    = false
  type = object({
    vpc_id             = string
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
    iam_authentication = optional(bool, true)
    master_secret_arn  = string
    key_arn            = string
  })
}

variable "application" {
  description = "The application's database user, made here, and the schema it works in. It has a password, for the proxy and for functions that read the secret; functions that connect directly log in by IAM as another, such as app_iam, and act as it. settings are bound to the role, since the proxy pins a session that uses SET: statement_timeout (30s when not given), idle_in_transaction_session_timeout (60s), lock_timeout (10s), search_path (the schema), or any other."
  nullable    = false
  default     = {}
  type = object({
    user     = optional(string, "app")
    schema   = optional(string, "app")
    settings = optional(map(string), {})
  })

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,55}$", var.application.user)) && !contains(local.reserved_users, var.application.user)
    error_message = "application.user must be a lower-case PostgreSQL name of at most 56 characters, and none of ${join(", ", local.reserved_users)}."
  }

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,55}$", var.application.schema)) && !startswith(var.application.schema, "pg_") && !contains(["bootstrap", "information_schema", "public"], var.application.schema)
    error_message = "application.schema must be a lower-case PostgreSQL name of at most 56 characters, none of bootstrap, information_schema, public, and not begin with pg_."
  }
}

variable "further_users" {
  description = "People's and tools' database users by name: access is read (select), or migrate (act as the owner of the schema); auth is iam, or password for a secret of its own. One that is taken out of the map is dropped."
  nullable    = false
  default     = {}
  type = map(object({
    access   = string
    auth     = optional(string, "iam")
    settings = optional(map(string), {})
  }))

  validation {
    condition     = alltrue([for user, given in var.further_users : contains(["read", "migrate"], given.access) && contains(["iam", "password"], given.auth)])
    error_message = "further_users: access must be read or migrate, and auth iam or password."
  }

  validation {
    condition     = alltrue([for user in keys(var.further_users) : can(regex("^[a-z_][a-z0-9_.@-]{0,55}$", user)) && !contains(concat(local.reserved_users, [var.application.user, "${var.application.user}_iam", "${var.application.schema}_owner"]), user) && !endswith(user, "_next")])
    error_message = "further_users must have names of at most 56 lower-case letters, digits and _.@-, not end in _next (which rotation uses), and be none of ${join(", ", local.reserved_users)}, the application's two, the schema's owner."
  }
}

variable "rotation_days" {
  description = "How often the password of each user that has one is changed."
  type        = number
  nullable    = false
  default     = 30

  validation {
    condition     = var.rotation_days >= 1 && var.rotation_days <= 90
    error_message = "rotation_days must be from 1 to 90."
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
