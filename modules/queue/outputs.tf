output "url" {
  description = "Where messages are sent to, once the function gets them."
  value       = aws_sqs_queue.main.url

  depends_on = [aws_lambda_event_source_mapping.main, aws_sqs_queue_policy.tls]
}

output "arn" {
  description = "What sqs:SendMessage is granted on."
  value       = aws_sqs_queue.main.arn
}

output "name" {
  description = "Name of the queue."
  value       = aws_sqs_queue.main.name
}

output "failed" {
  description = "Name of the queue of messages that failed for good."
  value       = aws_sqs_queue.failed.name
}

output "monitoring" {
  description = "What is watched of the queue, for the observability module: both names, how long all tries of a message take, and how long it is kept."
  value = {
    name              = aws_sqs_queue.main.name
    failed            = aws_sqs_queue.failed.name
    retries_seconds   = var.max_receives * local.visibility_timeout_seconds
    retention_seconds = aws_sqs_queue.main.message_retention_seconds
  }
}
