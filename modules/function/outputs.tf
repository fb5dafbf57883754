output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.main.function_name
}

output "alias_arn" {
  description = "ARN of the published version in use, as aws lambda invoke --function-name takes it."
  value       = aws_lambda_alias.live.arn
}

output "alias" {
  description = "The published version in use with what limits it, for the modules http and queue."
  value = {
    name                 = aws_lambda_function.main.function_name
    qualifier            = aws_lambda_alias.live.name
    arn                  = aws_lambda_alias.live.arn
    invoke_arn           = aws_lambda_alias.live.invoke_arn
    role                 = aws_iam_role.main.name
    timeout_seconds      = var.runtime.timeout_seconds
    reserved_concurrency = var.reserved_concurrency
  }
}

output "log_group" {
  description = "The function's log group."
  value       = aws_cloudwatch_log_group.main.name
}

output "monitoring" {
  description = "What is watched of the function, for the observability module: its name, its limits (reserved_concurrency null: the account's) and the queue of its dead letters."
  value = {
    name                 = aws_lambda_function.main.function_name
    timeout_seconds      = var.runtime.timeout_seconds
    reserved_concurrency = var.reserved_concurrency
    dead_letter_queue    = aws_sqs_queue.dead_letters.name
  }
}
