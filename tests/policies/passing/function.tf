resource "aws_lambda_function" "with_a_path" {
  function_name = "with-a-path"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { PGUSER = "app", DB_SECRET_ARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf" }
  }

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.with_a_path.id]
  }
}

resource "aws_security_group" "with_a_path" {
  name   = "with-a-path"
  vpc_id = "vpc-0123456789abcdef0"
}

resource "aws_vpc_security_group_egress_rule" "path" {
  security_group_id            = aws_security_group.with_a_path.id
  referenced_security_group_id = "sg-0123456789abcdef1"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_lambda_function" "outside_the_vpc" {
  function_name = "outside-the-vpc"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"
}

resource "aws_lambda_function" "group_from_elsewhere" {
  function_name = "group-from-elsewhere"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = ["sg-0123456789abcdef0"]
  }
}

resource "aws_lambda_function" "inline_path" {
  function_name = "inline-path"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.inline_path.id]
  }
}

resource "aws_security_group" "inline_path" {
  name   = "inline-path"
  vpc_id = "vpc-0123456789abcdef0"

  egress {
    security_groups = ["sg-0123456789abcdef0"]
    protocol        = "tcp"
    from_port       = 5432
    to_port         = 5432
  }
}

resource "aws_lambda_function" "rule_path" {
  function_name = "rule-path"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.rule_path.id]
  }
}

resource "aws_security_group" "rule_path" {
  name   = "rule-path"
  vpc_id = "vpc-0123456789abcdef0"
}

resource "aws_security_group_rule" "path" {
  security_group_id        = aws_security_group.rule_path.id
  type                     = "egress"
  source_security_group_id = "sg-0123456789abcdef0"
  protocol                 = "tcp"
  from_port                = 5432
  to_port                  = 5432
}
