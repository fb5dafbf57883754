resource "aws_db_instance" "given_password" {
  identifier        = "app"
  engine            = "postgres"
  instance_class    = "db.t4g.micro"
  allocated_storage = 20
  username          = "master"
  password          = "an-example-no-secret"
}

resource "aws_secretsmanager_secret_version" "given_value" {
  secret_id     = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  secret_string = jsonencode({ username = "app", password = "an-example-no-secret" })
}

resource "aws_ssm_parameter" "given_value" {
  name  = "password"
  type  = "SecureString"
  value = "an-example-no-secret"
}

resource "aws_lambda_function" "password_in_environment" {
  function_name = "password-in-environment"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { PGUSER = "app", PGPASSWORD = "an-example-no-secret" }
  }
}
