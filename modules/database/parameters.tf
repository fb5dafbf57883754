locals {
  # GiB by the first letter of the family and the size.
  memory_by_size = {
    t = { micro = 1, small = 2, medium = 4, large = 8, xlarge = 16, "2xlarge" = 32 }
    m = { large = 8, xlarge = 16, "2xlarge" = 32, "4xlarge" = 64, "8xlarge" = 128, "12xlarge" = 192, "16xlarge" = 256 }
    r = { large = 16, xlarge = 32, "2xlarge" = 64, "4xlarge" = 128, "8xlarge" = 256, "12xlarge" = 384, "16xlarge" = 512 }
  }
  class      = try(regex("^db\\.(?P<family>[a-z])[0-9]+[a-z]*\\.(?P<size>[0-9a-z]+)$", var.instance_class), { family = "", size = "" })
  memory_gib = lookup(lookup(local.memory_by_size, local.class.family, {}), local.class.size, null)

  # RDS would take memory / 9531392, of a memory that is 70 to 92 % of the nominal one. An explicit number is known to
  # the connection budget and to alarms, so the same is reckoned here.
  max_connections = var.max_connections != null ? var.max_connections : local.memory_gib == null ? 0 : min(5000, floor(0.8 * local.memory_gib * pow(1024, 3) / 9531392))

  # While a change waits for a restart the smaller number counts. PostgreSQL keeps three slots for superusers, RDS two.
  max_clients = min(local.max_connections, terraform_data.started_with.input.max_connections) - 5
}

# The old group of a major upgrade is deleted once the instance has left it.
resource "aws_db_parameter_group" "main" {
  name_prefix = "${var.name}-"
  description = "Parameters of ${var.name}"
  family      = "postgres${var.postgres_version}"

  parameter {
    name         = "max_connections"
    value        = tostring(local.max_connections)
    apply_method = "pending-reboot"
  }

  # These two are RDS's defaults, which keep the apply method of a default: another one would be changed by every apply.
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

  # log_min_duration_statement stays at its default, off: psycopg2 puts a statement's parameters into its text, and the log
  # would keep them. Performance Insights shows slow statements without.

  # log_statement stays at its default, none: ALTER ROLE would bring passwords into the log.

  lifecycle {
    create_before_destroy = true
  }
}
