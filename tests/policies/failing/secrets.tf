resource "aws_db_instance" "plain_given_password" {
  identifier        = "app"
  engine            = "postgres"
  instance_class    = "db.t4g.micro"
  allocated_storage = 20
  username          = "master"
  password          = "an-example-no-secret"
}

resource "aws_db_instance" "counted_given_password" {
  count = 1

  identifier        = "app"
  engine            = "postgres"
  instance_class    = "db.t4g.micro"
  allocated_storage = 20
  username          = "master"
  password          = "an-example-no-secret"
}

resource "aws_rds_cluster" "plain_given_password" {
  cluster_identifier = "app"
  engine             = "aurora-postgresql"
  master_username    = "master"
  master_password    = "an-example-no-secret"
}

resource "aws_secretsmanager_secret_version" "encoded_given_value" {
  secret_id     = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  secret_string = jsonencode({ username = "app", password = "an-example-no-secret" })
}

resource "aws_secretsmanager_secret_version" "heredoc_given_value" {
  secret_id     = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf"
  secret_string = <<-EOT
    {"username": "app", "password": "an-example-no-secret"}
  EOT
}

resource "aws_ssm_parameter" "plain_given_value" {
  name  = "password"
  type  = "SecureString"
  value = "an-example-no-secret"
}

resource "aws_lambda_function" "plain_password" {
  function_name = "plain-password"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { PGUSER = "app", PGPASSWORD = "an-example-no-secret" }
  }
}

resource "aws_lambda_function" "plain_short_name" {
  function_name = "plain-short-name"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { DB_PASS = "an-example-no-secret" }
  }
}

resource "aws_lambda_function" "plain_url" {
  function_name = "plain-url"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { DATABASE_URL = "postgresql://app:an-example-no-secret@app.example.com/app" }
  }
}

resource "aws_lambda_function" "plain_parameters" {
  function_name = "plain-parameters"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { DSN = "host=app.example.com user=app password=an-example-no-secret" }
  }
}

resource "aws_lambda_function" "plain_access_key" {
  function_name = "plain-access-key"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { AWS_KEY = "AKIAIOSFODNN7EXAMPLE" }
  }
}

resource "aws_lambda_function" "counted_password" {
  count = 1

  function_name = "counted-password"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { DB_PASS = "an-example-no-secret" }
  }
}

resource "aws_lambda_function" "each_password" {
  for_each = { app = "an-example-no-secret" }

  function_name = "each-password"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { DB_PASS = each.value }
  }
}

resource "aws_lambda_function" "variable_password" {
  function_name = "variable-password"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = merge({ PGUSER = "app" }, { DB_PASS = "an-example-no-secret" })
  }
}

resource "aws_lambda_function" "unknown_neighbour" {
  function_name = "unknown-neighbour"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { VPC = aws_vpc.main.id, DB_PASS = "an-example-no-secret" }
  }
}

resource "aws_lambda_function" "unknown_host" {
  function_name = "unknown-host"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  environment {
    variables = { DATABASE_URL = "postgresql://app:an-example-no-secret@${aws_vpc.main.id}/app" }
  }
}

resource "aws_lambda_function" "dynamic_password" {
  function_name = "dynamic-password"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  dynamic "environment" {
    for_each = [{ DB_PASS = "an-example-no-secret" }]

    content {
      variables = environment.value
    }
  }
}

resource "aws_lambda_function" "blind_dynamic_beside_unknown" {
  function_name = "blind-dynamic-beside-unknown"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  dynamic "environment" {
    for_each = [{ DB_PASS = "an-example-no-secret", VPC = aws_vpc.main.id }]

    content {
      variables = environment.value
    }
  }
}
