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
  description = "The network module: the instance stands in its subnets, and in its group database."
  nullable    = false
  type = object({
    subnet_ids         = list(string)
    security_group_ids = map(string)
    log_key_arn        = string
  })
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
  description = "Connections that the server accepts. Null: what the memory of instance_class bears, as RDS itself reckons."
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

variable "storage" {
  description = "gp3: size at first, and the size up to which it grows by itself. From 400 GiB on, iops and throughput can be more than the 12000 and 500 MiB/s included."
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

variable "backup_retention_days" {
  description = "How long backups are kept."
  type        = number
  nullable    = false
  default     = 7

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be from 1 to 35: going to 0 or back stops the instance for a while."
  }
}

variable "windows" {
  description = "Hours (UTC) of the daily backup and the weekly maintenance."
  nullable    = false
  default     = {}
  type = object({
    backup      = optional(string, "03:00-04:00")
    maintenance = optional(string, "sun:04:30-sun:05:30")
  })
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
