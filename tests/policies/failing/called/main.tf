# The form "called": every fault comes in through the arguments of a module call.
variable "world" {
  type = string
}

variable "login" {
  type = string
}

variable "password" {
  type = string
}

variable "off" {
  type = string
}

variable "iam" {
  type = string
}

variable "tls" {
  type = bool
}

variable "on" {
  type = bool
}

variable "days" {
  type = number
}

resource "aws_db_proxy" "called" {
  name           = "called"
  engine_family  = "POSTGRESQL"
  role_arn       = "arn:aws:iam::111122223333:role/proxy"
  vpc_subnet_ids = ["subnet-0a", "subnet-0b"]
  require_tls    = var.tls
  debug_logging  = var.on

  auth {
    auth_scheme = "SECRETS"
    iam_auth    = var.iam
    secret_arn  = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  }
}

resource "aws_vpc_security_group_egress_rule" "called" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = var.world
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_ingress_rule" "called" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = var.world
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_iam_role_policy" "called" {
  role = "function"

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "rds-db:connect", Resource = var.login }]
  })
}

resource "aws_lambda_function" "called" {
  function_name = "called"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { DB_PASS = var.password }
  }
}

resource "aws_cloudwatch_log_group" "called" {
  name              = "called"
  retention_in_days = var.days
}

resource "aws_db_parameter_group" "called" {
  name   = "called"
  family = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = var.off
  }
}
