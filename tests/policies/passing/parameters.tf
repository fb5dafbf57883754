resource "aws_db_parameter_group" "with_tls" {
  name   = "app"
  family = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

resource "aws_db_parameter_group" "left_out" {
  name   = "app"
  family = "postgres17"
}
