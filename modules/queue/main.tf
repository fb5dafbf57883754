locals {
  # AWS recommends six times the function's timeout, and the window: what was throttled is tried again meanwhile.
  visibility_timeout_seconds = 6 * var.function.timeout_seconds + var.batch.window_seconds
}

resource "aws_sqs_queue" "main" {
  name                              = var.name
  visibility_timeout_seconds        = local.visibility_timeout_seconds
  message_retention_seconds         = var.retention_days * 86400
  receive_wait_time_seconds         = 20 # the longest: an empty answer costs as much as a message
  kms_master_key_id                 = var.key_arn
  kms_data_key_reuse_period_seconds = var.key_arn == null ? null : 300
  sqs_managed_sse_enabled           = var.key_arn == null ? true : null

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.failed.arn
    maxReceiveCount     = var.max_receives
  })

  depends_on = [terraform_data.name]
}

# A message keeps its age when it moves here, so this queue must keep it longer than the other.
resource "aws_sqs_queue" "failed" {
  name                              = "${var.name}-failed"
  message_retention_seconds         = 1209600 # 14 days, the longest
  kms_master_key_id                 = var.key_arn
  kms_data_key_reuse_period_seconds = var.key_arn == null ? null : 300
  sqs_managed_sse_enabled           = var.key_arn == null ? true : null

  depends_on = [terraform_data.name]
}

resource "aws_sqs_queue_policy" "tls" {
  for_each = { main = aws_sqs_queue.main, failed = aws_sqs_queue.failed }

  queue_url = each.value.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyOverTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

# Lambda polls with the function's role.
resource "aws_iam_role_policy" "poll" {
  name = "poll-${var.name}"
  role = var.function.role

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid      = "Poll"
        Effect   = "Allow"
        Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        Resource = aws_sqs_queue.main.arn
      }],
      [for key in var.key_arn[*] : {
        Sid       = "DecryptMessages"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = key
        Condition = { StringLike = { "kms:ViaService" = "sqs.*.amazonaws.com" } }
      }],
    )
  })
}

resource "aws_lambda_event_source_mapping" "main" {
  event_source_arn                   = aws_sqs_queue.main.arn
  function_name                      = var.function.arn
  batch_size                         = var.batch.size
  maximum_batching_window_in_seconds = var.batch.window_seconds
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.maximum_concurrency
  }

  depends_on = [aws_iam_role_policy.poll]
}
