resource "aws_db_parameter_group" "plain_without_tls" {
  name   = "app"
  family = "postgres17"

  parameter {
    name  = "log_connections"
    value = "1"
  }

  parameter {
    name  = "rds.force_ssl"
    value = "0"
  }
}

resource "aws_rds_cluster_parameter_group" "plain_without_tls" {
  name   = "app"
  family = "aurora-postgresql17"

  parameter {
    name         = "rds.force_ssl"
    value        = 0
    apply_method = "pending-reboot"
  }
}

resource "aws_db_parameter_group" "counted_without_tls" {
  count = 1

  name   = "app"
  family = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = "off"
  }
}

resource "aws_db_parameter_group" "dynamic_without_tls" {
  name   = "app"
  family = "postgres17"

  dynamic "parameter" {
    for_each = { "rds.force_ssl" = "0" }

    content {
      name  = parameter.key
      value = parameter.value
    }
  }
}
