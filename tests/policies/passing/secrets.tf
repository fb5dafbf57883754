resource "aws_db_instance" "managed_password" {
  identifier                  = "app"
  engine                      = "postgres"
  instance_class              = "db.t4g.micro"
  allocated_storage           = 20
  username                    = "master"
  manage_master_user_password = true
}

resource "aws_ssm_parameter" "no_secret" {
  name  = "size"
  type  = "String"
  value = "large"
}

resource "aws_lambda_function" "names_of_secrets" {
  function_name = "names-of-secrets"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = {
      DB_SECRET              = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
      PASSWORD_PARAMETER_ARN = "arn:aws:ssm:us-east-1:111122223333:parameter/password"
      MAX_TOKEN              = "4096"
      TOKEN_TTL              = 300
      SECRET                 = ""
      COMPASS                = "north"
      BYPASS_CACHE           = "true"
      HOMEPAGE               = "https://example.com:8443/@app"
      DATABASE_URL           = "postgresql://app@app.example.com/app"
    }
  }
}

resource "aws_lambda_function" "unknown_secret" {
  function_name = "unknown-secret"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { DB_SECRET = aws_secretsmanager_secret.app.arn, API_TOKEN = var.unknown_token }
  }
}

resource "aws_secretsmanager_secret" "app" {
  name = "app"
}

variable "unknown" {
  type = string
}

variable "unknown_token" {
  type = string
}
