locals {
  name      = "${var.name}-bootstrap"
  partition = var.network.location.partition
  region    = var.network.location.region
  account   = var.network.location.account

  # Names that PostgreSQL or RDS keeps for itself; lambda/bootstrap/settings.py refuses the same.
  reserved_users = "^(pg_.*|rds_.*|rds|rdsadmin|rdsproxyadmin|rdsrepladmin|rdstopmgr|postgres|public|none|user|current_user|current_role|session_user)$"

  # Who logs in by password, and so has a secret.
  password_users = toset(concat(
    [var.application.user],
    [for user, given in var.further_users : user if given.auth == "password"],
  ))

  # Logs in by token and acts as the application's user, where the instance takes tokens. A role of PostgreSQL
  # takes a token or a password, never both: with two of them, functions move to the proxy and back at any time.
  iam_user = var.database.iam_authentication ? "${var.application.user}_iam" : null
}

# Not `main`: checkov applies a skip to every resource of the same address, whatever its module, and
# modules/function has an aws_lambda_function.main with skips of its own.
resource "aws_lambda_function" "migrator" {
  # checkov:skip=CKV_LRP_8:It goes through the group of the network; its own, which leads nowhere, holds its interfaces.
  # checkov:skip=CKV_AWS_115:A new account can reserve no concurrency; few invoke it: an apply, rotations, people.
  # checkov:skip=CKV_AWS_116:It is invoked synchronously: an error reaches terraform apply or Secrets Manager, and no event is lost.
  # checkov:skip=CKV_AWS_173:Its environment holds names and ARNs, no secret; Lambda encrypts it with its own key.
  # checkov:skip=CKV_AWS_272:The zips are built from this repository by whoever applies it; there is no third party to sign.
  function_name    = local.name
  description      = "Migrates the schema of ${var.name}, makes its users and rotates their passwords"
  role             = aws_iam_role.main.arn
  runtime          = "python3.13"
  architectures    = [var.runtime.architecture]
  handler          = "bootstrap.handler.handler"
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  layers           = [aws_lambda_layer_version.main.arn]
  memory_size      = var.runtime.memory_mb
  timeout          = var.runtime.timeout_seconds

  # No reservation: a new account can reserve nothing. Each invocation takes two connections at most (one that works,
  # one that tries a password or runs what must stand outside a transaction), and only an apply, each secret's rotation
  # and people invoke it.

  vpc_config {
    subnet_ids         = var.network.subnet_ids
    security_group_ids = [var.network.security_group_ids[var.tier], aws_security_group.interfaces.id]
  }

  environment {
    variables = local.environment
  }

  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_iam_role_policy.secrets, aws_iam_role_policy.runtime]

  lifecycle {
    precondition {
      condition     = local.environment_bytes <= 4096
      error_message = "further_users and application.settings are too large: with secrets' ARNs of the greatest length the function's environment variables are ${local.environment_bytes} bytes of JSON, and Lambda takes 4096. Take users or settings out."
    }

    precondition {
      condition     = length(local.compiled_for.layer) == 0 || contains(local.compiled_for.layer, "python3.13")
      error_message = "layer ${basename(var.layer)} is compiled for ${join(", ", local.compiled_for.layer)}, but this function runs on python3.13: name the layer that make package builds without PYTHON_VERSION."
    }

    precondition {
      condition     = length(local.compiled_for.package) == 0 || contains(local.compiled_for.package, "python3.13")
      error_message = "package ${basename(var.package)} is compiled for ${join(", ", local.compiled_for.package)}, but this function runs on python3.13: name the bootstrap.zip that make package builds."
    }
  }
}

# Deleted after the function and before its role, without which Lambda cannot delete the network interfaces: as in
# modules/function.
resource "aws_security_group" "interfaces" {
  # checkov:skip=CKV2_AWS_5:The function's own group, attached above.
  name_prefix = "${local.name}-interfaces-"
  description = "Network interfaces of the function ${local.name}. Without rules."
  vpc_id      = var.network.vpc_id

  depends_on = [aws_iam_role_policy.runtime]
}

resource "aws_lambda_layer_version" "main" {
  layer_name               = local.name
  filename                 = var.layer
  source_code_hash         = filebase64sha256(var.layer)
  compatible_runtimes      = ["python3.13"]
  compatible_architectures = [var.runtime.architecture]
}

# Invoked by apply, again whenever the code with its migrations, or what it was told, changes.
resource "aws_lambda_invocation" "apply" {
  function_name = aws_lambda_function.migrator.function_name
  input         = jsonencode({ action = "apply" })

  triggers = {
    code        = aws_lambda_function.migrator.source_code_hash
    environment = sha256(jsonencode(local.environment))
  }
}

resource "aws_cloudwatch_log_group" "main" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.network.log_key_arn
}
