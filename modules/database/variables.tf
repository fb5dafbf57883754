variable "name" {
  description = "Identifier of the instance, such as app-prod."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9]+)*$", var.name)) && length(var.name) <= 63
    error_message = "name must be lower-case letters, digits and single hyphens, begin with a letter, and have at most 63 characters."
  }
}

variable "network" {
  description = "The network module: where the instance stands."
  nullable    = false
  type = object({
    subnet_ids         = list(string)
    security_group_ids = map(string)
    log_key_arn        = string
    location           = object({ partition = string, region = string, account = string })
    database_port      = optional(number, 5432)
  })

  validation {
    condition     = contains(keys(var.network.security_group_ids), var.tier)
    error_message = "network.security_group_ids has no tier ${var.tier}, only ${join(", ", keys(var.network.security_group_ids))}. Put the instance on a path of the network, or give its tier as tier."
  }
}

variable "tier" {
  description = "Tier of the network that the instance belongs to."
  type        = string
  nullable    = false
  default     = "database"
}

variable "database" {
  description = "Names of the first database and of the master user. Changing one replaces the instance."
  nullable    = false
  default     = {}
  type = object({
    name        = optional(string, "app")
    master_user = optional(string, "master")
  })

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database.name)) && !contains(["postgres", "rdsadmin", "template0", "template1"], var.database.name)
    error_message = "database.name ${var.database.name} must be lower-case letters, digits and underscores, begin with a letter, have at most 63 characters, and be none of postgres, rdsadmin, template0, template1."
  }

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database.master_user)) && !can(regex("^(pg_|rds)", var.database.master_user)) && !contains(["admin", "public"], var.database.master_user)
    error_message = "database.master_user ${var.database.master_user} must be lower-case letters, digits and underscores, begin with a letter, have at most 63 characters, not begin with rds or pg_, and be neither admin nor public: RDS or PostgreSQL reserves those."
  }
}

variable "postgres_version" {
  description = "PostgreSQL's major version; minor ones are installed in the maintenance window."
  type        = number
  nullable    = false
  default     = 17

  validation {
    condition     = contains([16, 17, 18], var.postgres_version)
    error_message = "postgres_version must be 16, 17 or 18: the standard support of 13 and older has ended (13: 28 February 2026), that of 14 ends on 28 February 2027 and that of 15 on 29 February 2028."
  }
}

variable "instance_class" {
  description = "Class of the instance, such as db.m7g.large."
  type        = string
  nullable    = false
}

variable "max_connections" {
  description = "Connections that the server accepts. Null: computed from the memory of instance_class. A change needs make reboot."
  type        = number
  default     = null

  validation {
    condition     = var.max_connections == null ? local.memory_gib != null : true
    error_message = "max_connections must be given, since the memory of instance_class ${var.instance_class} is not known here."
  }

  validation {
    condition     = var.max_connections == null ? true : var.max_connections >= 20 && var.max_connections <= 5000
    error_message = "max_connections must be between 20 and 5000."
  }
}

variable "shares" {
  description = "Reserved concurrency of every function that connects directly, by the function's name. Null: each is held alone."
  type        = map(number)
  default     = null

  validation {
    condition     = alltrue([for share in values(coalesce(var.shares, {})) : share >= 1 && floor(share) == share])
    error_message = "shares must be whole numbers of at least 1."
  }
}

variable "storage" {
  description = "gp3: size at first, and size up to which it grows by itself. From 400 GiB on, iops and throughput_mib can be chosen."
  nullable    = false
  default     = {}
  type = object({
    allocated_gib  = optional(number, 20)
    max_gib        = optional(number, 100)
    iops           = optional(number)
    throughput_mib = optional(number)
  })

  validation {
    condition     = var.storage.allocated_gib >= 20 && var.storage.max_gib <= 65536
    error_message = "storage must be from 20 to 65536 GiB."
  }

  validation {
    condition     = var.storage.max_gib >= 1.26 * var.storage.allocated_gib
    error_message = "storage.max_gib must be at least 26 % above storage.allocated_gib, or it could not grow by a useful step."
  }

  validation {
    condition     = var.storage.allocated_gib >= 400 || (var.storage.iops == null && var.storage.throughput_mib == null)
    error_message = "storage.iops and storage.throughput_mib can be chosen from 400 GiB on: at ${var.storage.allocated_gib} GiB gp3 has 3000 iops and 125 MiB/s, and RDS refuses to be told."
  }

  validation {
    condition     = coalesce(var.storage.iops, 12000) >= 12000 && coalesce(var.storage.iops, 12000) <= 64000
    error_message = "storage.iops must be from 12000, what gp3 includes, to 64000."
  }

  validation {
    condition     = coalesce(var.storage.throughput_mib, 500) >= 500 && coalesce(var.storage.throughput_mib, 500) <= 4000
    error_message = "storage.throughput_mib must be from 500 MiB/s, what gp3 includes, to 4000."
  }

  validation {
    condition     = coalesce(var.storage.throughput_mib, 500) <= 0.25 * coalesce(var.storage.iops, 12000)
    error_message = "storage.throughput_mib ${coalesce(var.storage.throughput_mib, 500)} is above 0.25 MiB/s for each of ${coalesce(var.storage.iops, 12000)} iops, which is ${0.25 * coalesce(var.storage.iops, 12000)}: give at least ${4 * coalesce(var.storage.throughput_mib, 500)} iops."
  }
}

variable "iam_authentication" {
  description = "Whether users granted rds_iam log in with IAM tokens. While it is on, RDS lets clients of a proxy log in with IAM only."
  type        = bool
  nullable    = false
  default     = true
}

variable "multi_az" {
  description = "Whether a standby in another zone takes over when the instance fails."
  type        = bool
  nullable    = false
  default     = true
}

variable "backups" {
  description = "Days that backups are kept, and hours (UTC) in which they are taken."
  nullable    = false
  default     = {}
  type = object({
    retention_days = optional(number, 7)
    window         = optional(string, "03:00-04:00")
  })

  validation {
    condition     = var.backups.retention_days >= 1 && var.backups.retention_days <= 35
    error_message = "backups.retention_days must be from 1 to 35: going to 0 or back stops the instance for a while."
  }
}

variable "changes" {
  description = "When changes are made: now, or in_window. window: hours (UTC) of the weekly maintenance."
  nullable    = false
  default     = {}
  type = object({
    apply  = optional(string, "now")
    window = optional(string, "sun:04:30-sun:05:30")
  })

  validation {
    condition     = contains(["in_window", "now"], var.changes.apply)
    error_message = "changes.apply must be now or in_window."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the instance. Before a destroy, apply with false: only then does AWS let it go."
  type        = bool
  nullable    = false
  default     = true
}

variable "final_snapshot" {
  description = "Whether a last snapshot is taken when the instance is deleted."
  type        = bool
  nullable    = false
  default     = true
}

variable "restore_from_snapshot" {
  description = "Snapshot that the instance is made from. Later it may stay or be removed."
  type        = string
  default     = null
}

variable "subnet_group_name" {
  description = "Name of the DB subnet group. Null: that of the instance. An adopted instance keeps the group that it has."
  type        = string
  default     = null
}

variable "storage_key_arn" {
  description = "KMS key of storage and snapshots, kept outside. Null: the account's key aws/rds."
  type        = string
  default     = null

  validation {
    condition     = var.storage_key_arn == null ? true : can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/[0-9a-z-]+$", var.storage_key_arn))
    error_message = "storage_key_arn ${coalesce(var.storage_key_arn, "null")} must be the ARN of a KMS key: with the ARN of an alias every plan would replace the instance."
  }
}

variable "log_retention_days" {
  description = "How long the instance's logs are kept."
  type        = number
  nullable    = false
  default     = 365
}
