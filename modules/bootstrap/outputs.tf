output "application" {
  description = "The application's database user and its secret. Known once the user exists, so what needs it comes after."
  value = {
    user       = var.user
    secret_arn = aws_secretsmanager_secret.application.arn
    key_arn    = var.database.key_arn
  }

  depends_on = [aws_lambda_invocation.apply]
}

output "result" {
  description = "What the last invocation answered, as JSON: the migrations applied, the user made."
  value       = aws_lambda_invocation.apply.result
}

output "function_name" {
  description = "The function, to be invoked by hand."
  value       = aws_lambda_function.main.function_name
}
