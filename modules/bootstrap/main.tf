locals {
  name      = "${var.name}-bootstrap"
  partition = split(":", var.network.log_key_arn)[1]
  region    = split(":", var.network.log_key_arn)[3]
  account   = split(":", var.network.log_key_arn)[4]

  environment = {
    PGHOST                 = var.database.connection.host
    PGPORT                 = tostring(var.database.connection.port)
    PGDATABASE             = var.database.connection.database
    PGSSLROOTCERT          = "/opt/certificates/${var.database.connection.ca_file}"
    MASTER_SECRET_ARN      = var.database.master_secret_arn
    APPLICATION_SECRET_ARN = aws_secretsmanager_secret.application.arn
    APPLICATION_USER       = var.user
    APPLICATION_AUTH       = var.auth
  }
}

# The container only: the function makes the value inside the VPC, so no password passes through Terraform.
# The name has a suffix because a deleted secret keeps its name for 30 days.
resource "aws_secretsmanager_secret" "application" {
  # checkov:skip=CKV2_AWS_57:The function makes the password, and anew whenever it is invoked to; no schedule exists yet.
  name_prefix = "${var.name}-application-"
  description = "The database user ${var.user} of ${var.name}"
  kms_key_id  = var.database.key_arn
}

resource "aws_lambda_function" "main" {
  # checkov:skip=CKV_AWS_116:It is invoked synchronously: an error reaches terraform apply, and no event is lost.
  # checkov:skip=CKV_AWS_173:Its environment holds names and ARNs, no secret; Lambda encrypts it with its own key.
  # checkov:skip=CKV_AWS_272:The zips are built from this repository by whoever applies it; there is no third party to sign.
  function_name    = local.name
  description      = "Migrates the schema of ${var.name} and makes its users"
  role             = aws_iam_role.main.arn
  runtime          = "python3.13"
  architectures    = ["x86_64"]
  handler          = "handler.handler"
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  layers           = [aws_lambda_layer_version.main.arn]
  memory_size      = 256
  timeout          = 300

  # One at a time, so it never takes more than one connection.
  reserved_concurrent_executions = 1

  # Detaching from a VPC takes Lambda long; the groups need not wait for it.
  replace_security_groups_on_destroy = true

  vpc_config {
    subnet_ids         = var.network.subnet_ids
    security_group_ids = [var.network.security_group_ids["bootstrap"]]
  }

  environment {
    variables = local.environment
  }

  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_iam_role_policy.secrets, aws_iam_role_policy.runtime]
}

resource "aws_lambda_layer_version" "main" {
  layer_name               = local.name
  filename                 = var.layer
  source_code_hash         = filebase64sha256(var.layer)
  compatible_runtimes      = ["python3.13"]
  compatible_architectures = ["x86_64"]
}

# Invoked by apply, again whenever the code with its migrations, or what it was told, changes.
resource "aws_lambda_invocation" "apply" {
  function_name = aws_lambda_function.main.function_name
  input         = jsonencode({ action = "apply" })

  triggers = {
    code        = aws_lambda_function.main.source_code_hash
    environment = sha256(jsonencode(local.environment))
  }
}

resource "aws_cloudwatch_log_group" "main" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.network.log_key_arn
}
