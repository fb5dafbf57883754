resource "aws_db_proxy" "plain_tls_left_out" {
  name           = "app"
  engine_family  = "POSTGRESQL"
  role_arn       = "arn:aws:iam::111122223333:role/proxy"
  vpc_subnet_ids = ["subnet-0a", "subnet-0b"]
  debug_logging  = true

  auth {
    auth_scheme = "SECRETS"
    iam_auth    = "DISABLED"
    secret_arn  = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  }
}

resource "aws_db_proxy" "counted_one_of_two_without_iam" {
  count = 1

  name           = "app"
  engine_family  = "POSTGRESQL"
  role_arn       = "arn:aws:iam::111122223333:role/proxy"
  vpc_subnet_ids = ["subnet-0a", "subnet-0b"]
  require_tls    = false
  debug_logging  = true

  auth {
    auth_scheme = "SECRETS"
    iam_auth    = "REQUIRED"
    secret_arn  = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  }

  auth {
    auth_scheme = "SECRETS"
    secret_arn  = "arn:aws:secretsmanager:us-east-1:111122223333:secret:other-AbCdEf"
  }
}

variable "tls" {
  type    = bool
  default = false
}

variable "verbose" {
  type    = bool
  default = true
}

resource "aws_db_proxy" "dynamic_without_iam" {
  name           = "app"
  engine_family  = "POSTGRESQL"
  role_arn       = "arn:aws:iam::111122223333:role/proxy"
  vpc_subnet_ids = [aws_vpc.main.id, "subnet-0b"]
  require_tls    = var.tls
  debug_logging  = var.verbose

  dynamic "auth" {
    for_each = ["arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"]

    content {
      auth_scheme = "SECRETS"
      iam_auth    = "DISABLED"
      secret_arn  = auth.value
    }
  }
}

resource "aws_db_proxy" "each_without_tls" {
  for_each = toset(["app"])

  name           = each.key
  engine_family  = "POSTGRESQL"
  role_arn       = "arn:aws:iam::111122223333:role/proxy"
  vpc_subnet_ids = ["subnet-0a", "subnet-0b"]
  require_tls    = false
  debug_logging  = true

  auth {
    auth_scheme = "SECRETS"
    iam_auth    = "DISABLED"
    secret_arn  = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  }
}
