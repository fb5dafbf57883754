variable "name" {
  description = "Name of the function."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits, hyphens and underscores."
  }
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
  default     = "function"
}

variable "connection" {
  description = "Where to connect to: connection of the database module, the cluster module or the proxy module."
  nullable    = false
  type = object({
    host                   = string
    port                   = number
    database               = string
    rds_db_arn_prefix      = string
    ca_file                = string
    max_clients            = number
    shares                 = optional(map(number))
    pool_size              = optional(number)
    borrow_timeout_seconds = optional(number, 0)
    auth                   = optional(string)
    direct                 = bool
    resume_seconds         = optional(number, 0)
    iam_logins_per_second  = optional(number)
  })
}

variable "reader_connection" {
  description = "Where to read: reader_connection of the cluster module or the proxy module. The library leads read_only work to its host, PGHOST_READER. Null: at the connection."
  default     = null
  type = object({
    host                  = string
    port                  = number
    database              = string
    ca_file               = string
    max_clients           = number
    pool_size             = optional(number)
    rds_db_arn_prefix     = optional(string)
    direct                = bool
    iam_logins_per_second = optional(number)
  })

  validation {
    condition     = var.reader_connection == null ? true : var.reader_connection.direct == var.connection.direct && coalesce(var.reader_connection.rds_db_arn_prefix, var.connection.rds_db_arn_prefix) == var.connection.rds_db_arn_prefix
    error_message = "reader_connection must go the way that connection goes, directly to the same cluster or through the same proxy: the function may log in nowhere else."
  }
}

variable "application" {
  description = "The bootstrap module's application: the user to connect as, and where it is another, iam_user for tokens to the instance itself."
  nullable    = false
  type = object({
    user       = string
    iam_user   = optional(string)
    secret_arn = string
    key_arn    = string
  })

  validation {
    condition     = alltrue([for user in [var.application.user, coalesce(var.application.iam_user, var.application.user)] : can(regex("^[a-z_][a-z0-9_]{0,62}$", user))])
    error_message = "application.user and application.iam_user must be lower-case PostgreSQL names of at most 63 characters: rds-db:connect is granted on them, letter by letter."
  }
}

variable "migration" {
  description = "The bootstrap module's migration, after which the code goes live."
  type        = string
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

  validation {
    condition     = var.connection.auth == null ? true : var.auth == var.connection.auth
    error_message = "auth must be ${coalesce(var.connection.auth, "iam")}, the only way to log in that this connection offers."
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

variable "handler" {
  description = "Where the package begins: module.function."
  type        = string
  nullable    = false
  default     = "handler.handler"

  validation {
    condition     = can(regex("^[A-Za-z_][A-Za-z0-9_/]*(\\.[A-Za-z_][A-Za-z0-9_]*)+$", var.handler))
    error_message = "handler must be module.function, such as app.main."
  }
}

variable "layer" {
  description = "Zip of the layer, of runtime.name and runtime.architecture."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists(var.layer)
    error_message = "layer ${var.layer} does not exist: run make package."
  }
}

variable "runtime" {
  description = "What runs the code. extra_layers: ARNs of at most four. tracing: X-Ray, which isolated subnets may not reach."
  nullable    = false
  default     = {}
  type = object({
    name                    = optional(string, "python3.13")
    architecture            = optional(string, "x86_64")
    handler                 = optional(string)
    memory_mb               = optional(number, 256)
    timeout_seconds         = optional(number, 15)
    extra_layers            = optional(list(string), [])
    snap_start              = optional(bool, false)
    provisioned_concurrency = optional(number, 0)
    tracing                 = optional(bool, false)
  })

  validation {
    condition     = contains(["arm64", "x86_64"], var.runtime.architecture)
    error_message = "runtime.architecture must be arm64 or x86_64."
  }

  # Terraform would leave an attribute that there is no more out without a word.
  validation {
    condition     = var.runtime.handler == null
    error_message = "runtime.handler is now the argument handler, beside package."
  }

  validation {
    condition     = var.runtime.memory_mb >= 128 && var.runtime.memory_mb <= 10240
    error_message = "runtime.memory_mb must be from 128 to 10240."
  }

  validation {
    condition     = var.runtime.timeout_seconds <= 900
    error_message = "runtime.timeout_seconds must be at most 900, Lambda's longest."
  }

  validation {
    condition     = length(var.runtime.extra_layers) <= 4
    error_message = "runtime.extra_layers must be at most four: a function takes five layers, and one is the module's own."
  }

  validation {
    condition     = !(var.runtime.snap_start && var.runtime.provisioned_concurrency > 0)
    error_message = "runtime.snap_start and runtime.provisioned_concurrency exclude each other: Lambda starts environments from a snapshot or keeps them started."
  }

  validation {
    condition     = !var.runtime.snap_start || can(regex("^python3\\.(1[2-9]|[2-9][0-9])$", var.runtime.name))
    error_message = "runtime.snap_start needs python3.12 or newer."
  }

  validation {
    condition     = var.runtime.provisioned_concurrency >= 0 && var.runtime.provisioned_concurrency <= coalesce(var.reserved_concurrency, var.runtime.provisioned_concurrency)
    error_message = "runtime.provisioned_concurrency must be from 0 to reserved_concurrency, of which it is a part."
  }
}

variable "reserved_concurrency" {
  description = "Limit of execution environments, each with one connection. Null, only through the proxy: the account's limit."
  type        = number

  validation {
    condition     = coalesce(var.reserved_concurrency, 1) >= 1
    error_message = "reserved_concurrency must be at least 1."
  }
}

variable "environment" {
  description = "Further environment variables, such as PGCONNECT_TIMEOUT (5 seconds by default). No secrets: whoever may see the function sees them."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["PGHOST", "PGHOST_READER", "PGPORT", "PGDATABASE", "PGUSER", "PGSSLROOTCERT", "DB_AUTH", "DB_SECRET_ARN"])) == 0
    error_message = "environment must not name what the module sets itself: PGHOST, PGHOST_READER, PGPORT, PGDATABASE, PGUSER, PGSSLROOTCERT, DB_AUTH, DB_SECRET_ARN."
  }

  validation {
    condition     = can(tonumber(lookup(var.environment, "PGCONNECT_TIMEOUT", "5")))
    error_message = "environment.PGCONNECT_TIMEOUT must be a number of seconds."
  }

  # The messages name variables, never a value.
  validation {
    condition     = alltrue([for name, value in var.environment : can(regex(local.harmless_value, value)) if can(regex(local.secret_name, name))])
    error_message = "environment must not hold a secret, as ${join(", ", [for name in keys(var.environment) : name if can(regex(local.secret_name, name))])} seems to: whoever may see the function or the state reads it. Pass the ARN of a secret, and read it in the code."
  }

  validation {
    condition     = alltrue([for value in values(var.environment) : !can(regex(local.secret_value, value))])
    error_message = "environment must not hold a secret, and one of the values of ${join(", ", keys(var.environment))} contains a password or a key: whoever may see the function or the state reads it. Pass the ARN of a secret, and read it in the code."
  }
}

variable "log_retention_days" {
  description = "How long the function's log is kept."
  type        = number
  nullable    = false
  default     = 365
}
