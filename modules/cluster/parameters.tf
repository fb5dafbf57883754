locals {
  # GiB by the first letter of the family and the size.
  memory_by_size = {
    c = { medium = 2, large = 4, xlarge = 8, "2xlarge" = 16, "4xlarge" = 32, "8xlarge" = 64, "12xlarge" = 96, "16xlarge" = 128 }
    t = { medium = 4, large = 8 }
    m = { large = 8, xlarge = 16, "2xlarge" = 32, "4xlarge" = 64, "8xlarge" = 128, "12xlarge" = 192, "16xlarge" = 256 }
    r = { large = 16, xlarge = 32, "2xlarge" = 64, "4xlarge" = 128, "8xlarge" = 256, "12xlarge" = 384, "16xlarge" = 512 }
  }
  class      = try(regex("^db\\.(?P<family>[a-z])[0-9]+[a-z]*\\.(?P<size>[0-9a-z]+)$", var.instance_class), { family = "", size = "" })
  serverless = var.instance_class == "db.serverless"
  aurora     = var.engine == "aurora"

  min_acu = try(var.capacity.min_acu, 0)
  max_acu = try(var.capacity.max_acu, 0)

  # A paused instance answers after about 15 s, after a day 30 s or more.
  resume_seconds = local.serverless && local.min_acu == 0 ? 30 : 0

  # An ACU has 2 GiB, and FreeableMemory is what would be left at the largest capacity.
  memory_gib = local.serverless ? 2 * local.max_acu : lookup(lookup(local.memory_by_size, local.class.family, {}), local.class.size, null)

  # Aurora reckons max_connections from the largest capacity: 189 at 1 ACU, 823 at 4, 1669 at 8, 3360 at 16, 5000 from 32
  # on. The line through them; 2000 at most where the smallest capacity is 0 or 0.5.
  of_capacity = max(0, min(local.min_acu < 1 ? 2000 : 5000, floor(211.43 * local.max_acu - 22.4)))

  # Of a class as modules/database reckons it: RDS and Aurora have the same formula.
  of_class        = local.memory_gib == null ? 0 : min(5000, floor(0.8 * local.memory_gib * pow(1024, 3) / 9531392))
  max_connections = var.max_connections != null ? var.max_connections : local.serverless ? local.of_capacity : local.of_class

  # While a change waits for a restart the smaller number counts. PostgreSQL keeps three slots for superusers, RDS two.
  max_clients = min(local.max_connections, terraform_data.started_with.input.max_connections) - 5

  family = "${local.aurora ? "aurora-postgresql" : "postgres"}${var.postgres_version}"
}

# What the servers of a cluster have in common: all that is set here. The old group of a major upgrade is deleted once the
# cluster has left it.
resource "aws_rds_cluster_parameter_group" "main" {
  name_prefix = "${var.name}-"
  description = "Parameters of ${var.name}"
  family      = local.family

  # Serverless v2 reckons it, and AWS advises against a constant.
  dynamic "parameter" {
    for_each = local.serverless ? [] : [local.max_connections]

    content {
      name         = "max_connections"
      value        = tostring(parameter.value)
      apply_method = "pending-reboot"
    }
  }

  # Aurora's default is 0 up to version 16.
  parameter {
    name         = "rds.force_ssl"
    value        = "1"
    apply_method = "pending-reboot"
  }

  parameter {
    name         = "password_encryption"
    value        = "scram-sha-256"
    apply_method = "pending-reboot"
  }

  parameter {
    name  = "rds.accepted_password_auth_method"
    value = "scram"
  }

  # Since 18 it is a list of stages instead of a switch.
  parameter {
    name  = "log_connections"
    value = var.postgres_version >= 18 ? "all" : "1"
  }

  parameter {
    name  = "log_disconnections"
    value = "1"
  }

  parameter {
    name  = "log_lock_waits"
    value = "1"
  }

  # log_min_duration_statement and log_statement stay at their defaults: see modules/database/parameters.tf.

  lifecycle {
    create_before_destroy = true
  }
}

# What one server alone has: nothing is set. It is there because a server that has the default group could take another
# one only with a restart. A Multi-AZ cluster has none.
resource "aws_db_parameter_group" "member" {
  for_each = toset(local.aurora ? ["member"] : [])

  name_prefix = "${var.name}-member-"
  description = "Parameters of each instance of ${var.name}"
  family      = local.family

  lifecycle {
    create_before_destroy = true
  }
}
