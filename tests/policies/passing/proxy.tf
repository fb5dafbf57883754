resource "aws_db_proxy" "tls_and_iam" {
  name           = "app"
  engine_family  = "POSTGRESQL"
  role_arn       = "arn:aws:iam::111122223333:role/proxy"
  vpc_subnet_ids = ["subnet-0a", "subnet-0b"]
  require_tls    = true

  auth {
    auth_scheme = "SECRETS"
    iam_auth    = "REQUIRED"
    secret_arn  = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  }
}

variable "unknown_bool" {
  type = bool
}

resource "aws_db_proxy" "not_known" {
  name           = "app"
  engine_family  = "POSTGRESQL"
  role_arn       = "arn:aws:iam::111122223333:role/proxy"
  vpc_subnet_ids = ["subnet-0a", "subnet-0b"]
  require_tls    = var.unknown_bool
  debug_logging  = var.unknown_debug

  auth {
    auth_scheme = "SECRETS"
    iam_auth    = var.unknown_bool ? "REQUIRED" : "DISABLED"
    secret_arn  = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  }
}

variable "unknown_debug" {
  type = bool
}
