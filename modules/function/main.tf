locals {
  partition = split(":", var.network.log_key_arn)[1]
  region    = split(":", var.network.log_key_arn)[3]
  account   = split(":", var.network.log_key_arn)[4]

  # What direct connections are counted against: each execution environment holds one, the bootstrap function one more.
  headroom    = 3
  connections = var.reserved_concurrency + 1 + local.headroom

  # libpq's own names; the layer's library reads the rest.
  environment = merge(
    {
      PGHOST        = var.connection.host
      PGPORT        = tostring(var.connection.port)
      PGDATABASE    = var.connection.database
      PGUSER        = var.application.user
      PGSSLROOTCERT = "/opt/certificates/${var.connection.ca_file}"
      DB_AUTH       = var.auth
    },
    var.auth == "secret" ? { DB_SECRET_ARN = var.application.secret_arn } : {},
    var.environment,
  )
}

resource "aws_lambda_function" "main" {
  # checkov:skip=CKV_AWS_173:Its environment holds names and ARNs, no secret; Lambda encrypts it with its own key.
  # checkov:skip=CKV_AWS_272:The zips are built from this repository by whoever applies it; there is no third party to sign.
  function_name    = var.name
  role             = aws_iam_role.main.arn
  runtime          = var.runtime.name
  architectures    = [var.runtime.architecture]
  handler          = var.runtime.handler
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  layers           = [aws_lambda_layer_version.main.arn]
  memory_size      = var.runtime.memory_mb
  timeout          = var.runtime.timeout_seconds
  publish          = true

  reserved_concurrent_executions = var.reserved_concurrency

  # Detaching from a VPC takes Lambda long; the groups need not wait for it.
  replace_security_groups_on_destroy = true

  vpc_config {
    subnet_ids         = var.network.subnet_ids
    security_group_ids = [var.network.security_group_ids["function"]]
  }

  environment {
    variables = local.environment
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.dead_letters.arn
  }

  # Isolated subnets may not reach X-Ray: the function only passes on what its caller traces.
  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_iam_role_policy.log_in, aws_iam_role_policy.runtime]

  lifecycle {
    precondition {
      condition     = var.connection.max_clients == null ? true : local.connections <= var.connection.max_clients
      error_message = "reserved_concurrency ${var.reserved_concurrency} takes up to ${var.reserved_concurrency} direct connections; with 1 for the bootstrap function and ${local.headroom} for people that is ${local.connections}, but the instance bears ${coalesce(var.connection.max_clients, 0)} clients. Choose a lower reserved_concurrency, a larger instance class, or the proxy."
    }
  }
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.main.function_name
  function_version = aws_lambda_function.main.version
}

resource "aws_lambda_layer_version" "main" {
  layer_name               = var.name
  filename                 = var.layer
  source_code_hash         = filebase64sha256(var.layer)
  compatible_runtimes      = [var.runtime.name]
  compatible_architectures = [var.runtime.architecture]
}

# Events of asynchronous invocations that failed for good.
resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600 # 14 days, the longest
  sqs_managed_sse_enabled   = true
}

# Made before the function, which would else make it itself: unencrypted, and kept for ever.
resource "aws_cloudwatch_log_group" "main" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.network.log_key_arn
}
