output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.main.function_name
}

output "live" {
  description = "The published version in use, as aws lambda invoke --function-name takes it: NAME:live."
  value       = "${aws_lambda_alias.live.function_name}:${aws_lambda_alias.live.name}"
}

output "log_group" {
  description = "The function's log group."
  value       = aws_cloudwatch_log_group.main.name
}
