variable "name" {
  description = "Prefix of everything made here, such as app-prod."
  type        = string
  nullable    = false
}

variable "network" {
  description = "The network module: where the function runs."
  nullable    = false
  type = object({
    vpc_id             = string
    subnet_ids         = list(string)
    security_group_ids = map(string)
    log_key_arn        = string
    location           = object({ partition = string, region = string, account = string })
  })

  validation {
    condition     = contains(keys(var.network.security_group_ids), var.tier)
    error_message = "network.security_group_ids has no tier ${var.tier}, only ${join(", ", keys(var.network.security_group_ids))}. Put the function on a path of the network, or give its tier as tier."
  }
}

variable "tier" {
  description = "Tier of the network that the function belongs to."
  type        = string
  nullable    = false
  default     = "bootstrap"
}

variable "database" {
  description = "The database module or the cluster module: reached directly, never through a proxy."
  nullable    = false
  type = object({
    connection = object({
      host     = string
      port     = number
      database = string
      ca_file  = string

      resume_seconds = optional(number, 0)
    })
    iam_authentication = optional(bool, true)
    master_user        = optional(string, "master")
    master_secret_arn  = string
    key_arn            = string
  })
}

variable "application" {
  description = "The application's database user and its schema. connection_limit and settings, such as lock_timeout, are bound to each of its login roles. adopt: take over a schema that somebody else made."
  nullable    = false
  default     = {}
  type = object({
    user     = optional(string, "app")
    schema   = optional(string, "app")
    settings = optional(map(string), {})
    adopt    = optional(bool, false)

    connection_limit     = optional(number)
    statement_timeout_ms = optional(number)
  })

  validation {
    condition     = coalesce(var.application.connection_limit, 1) >= 1 && floor(coalesce(var.application.connection_limit, 1)) == coalesce(var.application.connection_limit, 1)
    error_message = "application.connection_limit must be a whole number of at least 1. Leave it out for no limit."
  }

  validation {
    condition     = coalesce(var.application.statement_timeout_ms, 1) >= 1 && coalesce(var.application.statement_timeout_ms, 1) <= 2147483647 && floor(coalesce(var.application.statement_timeout_ms, 1)) == coalesce(var.application.statement_timeout_ms, 1)
    error_message = "application.statement_timeout_ms must be a whole number from 1 to 2147483647. Leave it out for 30 seconds."
  }

  validation {
    condition     = var.application.statement_timeout_ms == null || !contains([for name in keys(var.application.settings) : lower(name)], "statement_timeout")
    error_message = "application.settings must not have statement_timeout beside application.statement_timeout_ms: leave it out of settings."
  }

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,55}$", var.application.user)) && !endswith(var.application.user, "_next")
    error_message = "application.user must be a lower-case PostgreSQL name of at most 56 characters that does not end in _next, which rotation uses."
  }

  validation {
    condition     = !can(regex(local.reserved_users, var.application.user)) && !contains([var.database.master_user, "${var.application.schema}_owner", "${var.application.schema}_deploy"], var.application.user)
    error_message = "application.user must not be ${var.application.user}: PostgreSQL or RDS reserves it, or it is the database's master user or the schema's owner. Choose another name."
  }

  validation {
    condition     = "${var.application.user}_iam" != var.database.master_user
    error_message = "application.user must not be ${var.application.user}: its user for tokens would be ${var.database.master_user}, the database's master user. Choose another name."
  }

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,55}$", var.application.schema)) && !can(regex("^(pg_.*|rds|rds_.*)$", var.application.schema)) && !contains(["bootstrap", "information_schema", "public"], var.application.schema)
    error_message = "application.schema must be a lower-case PostgreSQL name of at most 56 characters, none of bootstrap, information_schema, public, rds, and not begin with pg_ or rds_."
  }

  validation {
    condition     = "${var.application.schema}_owner" != var.database.master_user
    error_message = "application.schema must not be ${var.application.schema}: its owner would be ${var.database.master_user}, the database's master user. Choose another name."
  }
}

variable "further_users" {
  description = "Database users of people and tools by name: access is read or migrate, auth is iam or password."
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
    condition     = alltrue([for user in keys(var.further_users) : can(regex("^[a-z_][a-z0-9_.@-]{0,55}$", user)) && !endswith(user, "_next")])
    error_message = "further_users must have names of at most 56 lower-case letters, digits and _.@-, and not end in _next, which rotation uses."
  }

  validation {
    condition     = !anytrue([for user in keys(var.further_users) : can(regex(local.reserved_users, user))])
    error_message = "further_users must not have ${join(", ", [for user in keys(var.further_users) : user if can(regex(local.reserved_users, user))])}: PostgreSQL or RDS reserves the name. Choose another."
  }

  validation {
    condition     = length(setintersection(keys(var.further_users), [var.database.master_user, var.application.user, "${var.application.user}_iam", "${var.application.schema}_owner", "${var.application.schema}_deploy"])) == 0
    error_message = "further_users must not have the database's master user, the application's two (${var.application.user}, ${var.application.user}_iam) or the schema's roles (${var.application.schema}_owner, ${var.application.schema}_deploy)."
  }
}

variable "runtime" {
  description = "What runs the function. A migration must end within timeout_seconds."
  nullable    = false
  default     = {}
  type = object({
    architecture    = optional(string, "x86_64")
    memory_mb       = optional(number, 256)
    timeout_seconds = optional(number, 300)
  })

  validation {
    condition     = contains(["arm64", "x86_64"], var.runtime.architecture)
    error_message = "runtime.architecture must be arm64 or x86_64."
  }

  validation {
    condition     = var.runtime.memory_mb >= 128 && var.runtime.memory_mb <= 10240
    error_message = "runtime.memory_mb must be from 128 to 10240."
  }

  validation {
    condition     = var.runtime.timeout_seconds >= 30 && var.runtime.timeout_seconds <= 900
    error_message = "runtime.timeout_seconds must be from 30, which a rotation needs, to 900, Lambda's longest."
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
  description = "Zip of the layer, of runtime.architecture."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists(var.layer)
    error_message = "layer ${var.layer} does not exist: run make package."
  }

  validation {
    condition     = try(regex("(arm64|x86_64)\\.zip$", var.layer)[0], var.runtime.architecture) == var.runtime.architecture
    error_message = "layer ${basename(var.layer)} is of another architecture than runtime.architecture ${var.runtime.architecture}: run make package ARCH=${var.runtime.architecture}."
  }
}

variable "log_retention_days" {
  description = "How long the function's log is kept."
  type        = number
  nullable    = false
  default     = 365
}
