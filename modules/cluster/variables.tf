variable "name" {
  description = "Identifier of the cluster, such as app-prod."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9]+)*$", var.name)) && length(var.name) <= 60
    error_message = "name must be lower-case letters, digits and single hyphens, begin with a letter, and have at most 60 characters: the instances have a number more."
  }
}

variable "network" {
  description = "The network module: where the cluster stands."
  nullable    = false
  type = object({
    subnet_ids         = list(string)
    security_group_ids = map(string)
    log_key_arn        = string
    location           = object({ partition = string, region = string, account = string })
    database_port      = optional(number, 5432)
    zone_names         = optional(list(string), [])
  })

  validation {
    condition     = contains(keys(var.network.security_group_ids), var.tier)
    error_message = "network.security_group_ids has no tier ${var.tier}, only ${join(", ", keys(var.network.security_group_ids))}. Put the cluster on a path of the network, or give its tier as tier."
  }
}

variable "tier" {
  description = "Tier of the network that the cluster belongs to."
  type        = string
  nullable    = false
  default     = "database"
}

variable "database" {
  description = "Names of the first database and of the master user. Changing one replaces the cluster."
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

variable "engine" {
  description = "aurora: shared storage, readers by number. multi_az: an RDS Multi-AZ DB cluster, a writer and two readers with a disk each."
  type        = string
  nullable    = false
  default     = "aurora"

  validation {
    condition     = contains(["aurora", "multi_az"], var.engine)
    error_message = "engine must be aurora or multi_az."
  }

  validation {
    condition     = var.engine != "multi_az" || !contains(["ap-east-2", "ap-southeast-6", "ap-southeast-7", "us-west-1"], var.network.location.region)
    error_message = "engine must not be multi_az in ${var.network.location.region}, which has no Multi-AZ DB clusters. Choose aurora."
  }
}

variable "instance_class" {
  description = "Class of every instance, such as db.r7g.large, or db.serverless with a capacity."
  type        = string
  nullable    = false

  validation {
    condition     = var.engine != "aurora" || !can(regex("^db\\.t[0-9]+[a-z]*\\.(micro|small)$", var.instance_class))
    error_message = "instance_class ${var.instance_class} is too small for Aurora: db.t4g.medium is the smallest, and db.serverless the cheapest when idle."
  }

  validation {
    condition     = var.engine != "multi_az" || can(regex("^db\\.(c6gd|m5d|m6gd|m6id|m6idn|r5d|r6gd|r6id|r6idn|x2iedn)\\.", var.instance_class))
    error_message = "instance_class ${var.instance_class} does not exist for engine multi_az: it takes c6gd, m5d, m6gd, m6id, m6idn, r5d, r6gd, r6id, r6idn and x2iedn, such as db.m6gd.large."
  }
}

variable "capacity" {
  description = "Of db.serverless: range of each instance in ACU (2 GiB each). min_acu 0 pauses after pause_after_seconds without a connection."
  default     = null
  type = object({
    min_acu             = number
    max_acu             = number
    pause_after_seconds = optional(number, 300)
  })

  validation {
    condition     = (var.capacity != null) == (var.instance_class == "db.serverless")
    error_message = "capacity belongs to instance_class db.serverless, and db.serverless needs it, but instance_class is ${var.instance_class}."
  }

  validation {
    condition     = var.capacity == null ? true : var.capacity.min_acu >= 0 && var.capacity.max_acu >= 1 && var.capacity.max_acu <= 256 && var.capacity.min_acu <= var.capacity.max_acu
    error_message = "capacity must be from 0 to 256 ACU, with max_acu at least 1 and not below min_acu."
  }

  validation {
    condition     = var.capacity == null ? true : alltrue([for acu in [var.capacity.min_acu, var.capacity.max_acu] : floor(2 * acu) == 2 * acu])
    error_message = "capacity goes in steps of 0.5 ACU, but is ${try(var.capacity.min_acu, 0)} to ${try(var.capacity.max_acu, 0)}."
  }

  validation {
    condition     = var.capacity == null ? true : var.capacity.min_acu > 0 || contains([16, 17], var.postgres_version)
    error_message = "capacity.min_acu 0 needs postgres_version 16 or 17: of ${var.postgres_version} AWS does not say that it pauses. Give at least 0.5."
  }

  validation {
    condition     = var.capacity == null ? true : var.capacity.pause_after_seconds >= 300 && var.capacity.pause_after_seconds <= 86400
    error_message = "capacity.pause_after_seconds must be from 300 to 86400, a day."
  }
}

variable "readers" {
  description = "Readers of an Aurora cluster. failover_targets: how many are as large as the writer. max_count: AWS adds readers up to it at cpu_percent. Null: one; a multi_az cluster always has two."
  default     = null
  type = object({
    count            = optional(number, 1)
    failover_targets = optional(number, 1)
    max_count        = optional(number)
    cpu_percent      = optional(number, 60)
  })

  validation {
    condition     = var.readers == null || var.engine == "aurora"
    error_message = "readers must be left out with engine multi_az, which always has two."
  }

  validation {
    condition     = var.readers == null ? true : var.readers.count >= 0 && coalesce(var.readers.max_count, var.readers.count) <= 15 && floor(var.readers.count) == var.readers.count
    error_message = "readers.count and readers.max_count must be whole numbers from 0 to 15, as many as a cluster takes."
  }

  validation {
    condition     = var.readers == null ? true : var.readers.max_count == null ? true : var.readers.count >= 1 && var.readers.max_count > var.readers.count
    error_message = "readers.max_count must be above readers.count, which must be at least 1: AWS adds readers only where one always stands."
  }

  validation {
    condition     = try(var.readers.max_count, null) == null || var.instance_class != "db.serverless"
    error_message = "readers.max_count must be left out with db.serverless: AWS adds no serverless readers, since each grows by itself up to capacity.max_acu."
  }

  validation {
    condition     = var.readers == null ? true : var.readers.cpu_percent >= 10 && var.readers.cpu_percent <= 90
    error_message = "readers.cpu_percent must be from 10 to 90."
  }
}

variable "max_connections" {
  description = "Connections that each server accepts. Null: computed from the memory of instance_class; for db.serverless always null."
  type        = number
  default     = null

  validation {
    condition     = var.max_connections == null ? local.memory_gib != null : true
    error_message = "max_connections must be given, since the memory of instance_class ${var.instance_class} is not known here."
  }

  validation {
    condition     = var.max_connections == null ? true : var.instance_class != "db.serverless"
    error_message = "max_connections must be left out with db.serverless: Aurora computes it from capacity.max_acu."
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
  description = "Aurora: io_optimized, where I/O is a quarter of the bill or more. multi_az: size and IOPS of the gp3 disks, which never grow by themselves."
  nullable    = false
  default     = {}
  type = object({
    io_optimized  = optional(bool, false)
    allocated_gib = optional(number)
    iops          = optional(number)
  })

  validation {
    condition     = var.engine == "multi_az" || (var.storage.allocated_gib == null && var.storage.iops == null)
    error_message = "storage.allocated_gib and storage.iops belong to engine multi_az: the storage of Aurora has no size that could be chosen."
  }

  validation {
    condition     = var.engine == "aurora" || !var.storage.io_optimized
    error_message = "storage.io_optimized belongs to engine aurora."
  }

  validation {
    condition     = var.storage.iops == null ? true : coalesce(var.storage.iops, 0) >= 0.5 * coalesce(var.storage.allocated_gib, 100) && coalesce(var.storage.iops, 0) <= 50 * coalesce(var.storage.allocated_gib, 100)
    error_message = "storage.iops must be from 0.5 to 50 for each of storage.allocated_gib, which is ${coalesce(var.storage.allocated_gib, 100)}."
  }
}

variable "iam_authentication" {
  description = "Whether users granted rds_iam log in with IAM tokens. While it is on, RDS lets clients of a proxy log in with IAM only."
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
    error_message = "backups.retention_days must be from 1 to 35: a cluster always has backups."
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
  description = "Whether AWS refuses to delete the cluster. Before a destroy, apply with false: only then does AWS let it go."
  type        = bool
  nullable    = false
  default     = true
}

variable "final_snapshot" {
  description = "Whether a last snapshot is taken when the cluster is deleted."
  type        = bool
  nullable    = false
  default     = true
}

variable "restore_from_snapshot" {
  description = "Snapshot that the cluster is made from. Later it may stay or be removed."
  type        = string
  default     = null
}

variable "storage_key_arn" {
  description = "KMS key of storage and snapshots, kept outside. Null: the account's key aws/rds."
  type        = string
  default     = null

  validation {
    condition     = var.storage_key_arn == null ? true : can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/[0-9a-z-]+$", var.storage_key_arn))
    error_message = "storage_key_arn ${coalesce(var.storage_key_arn, "null")} must be the ARN of a KMS key: with the ARN of an alias every plan would replace the cluster."
  }
}

variable "log_retention_days" {
  description = "How long the cluster's logs are kept."
  type        = number
  nullable    = false
  default     = 365
}
