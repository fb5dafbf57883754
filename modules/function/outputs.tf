output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.main.function_name
}

output "alias_arn" {
  description = "ARN of the published version in use, as aws lambda invoke --function-name takes it."
  value       = aws_lambda_alias.live.arn
}

output "log_group" {
  description = "The function's log group."
  value       = aws_cloudwatch_log_group.main.name
}
