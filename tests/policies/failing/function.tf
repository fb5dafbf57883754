resource "aws_lambda_function" "plain_without_a_path" {
  function_name = "plain-without-a-path"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.plain_without_a_path.id]
  }
}

resource "aws_security_group" "plain_without_a_path" {
  name   = "plain-without-a-path"
  vpc_id = "vpc-0123456789abcdef0"
}

resource "aws_lambda_function" "inline_ingress_only" {
  function_name = "inline-ingress-only"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.inline_ingress_only.id]
  }
}

resource "aws_security_group" "inline_ingress_only" {
  name   = "inline-ingress-only"
  vpc_id = "vpc-0123456789abcdef0"

  ingress {
    security_groups = ["sg-0123456789abcdef0"]
    protocol        = "tcp"
    from_port       = 5432
    to_port         = 5432
  }
}

resource "aws_lambda_function" "rule_ingress_only" {
  function_name = "rule-ingress-only"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.rule_ingress_only.id]
  }
}

resource "aws_security_group" "rule_ingress_only" {
  name   = "rule-ingress-only"
  vpc_id = "vpc-0123456789abcdef0"
}

resource "aws_security_group_rule" "rule_ingress_only" {
  security_group_id        = aws_security_group.rule_ingress_only.id
  type                     = "ingress"
  source_security_group_id = "sg-0123456789abcdef0"
  protocol                 = "tcp"
  from_port                = 5432
  to_port                  = 5432
}

resource "aws_lambda_function" "own_ingress_only" {
  function_name = "own-ingress-only"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.own_ingress_only.id]
  }
}

resource "aws_security_group" "own_ingress_only" {
  name   = "own-ingress-only"
  vpc_id = "vpc-0123456789abcdef0"
}

resource "aws_vpc_security_group_ingress_rule" "own_ingress_only" {
  security_group_id            = aws_security_group.own_ingress_only.id
  referenced_security_group_id = "sg-0123456789abcdef0"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_lambda_function" "counted_without_a_path" {
  count = 1

  function_name = "counted-without-a-path"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.counted_without_a_path[0].id]
  }
}

resource "aws_security_group" "counted_without_a_path" {
  count = 1

  name   = "counted-without-a-path"
  vpc_id = "vpc-0123456789abcdef0"
}
