output "application" {
  description = "The application's database user with its secret, and iam_user, which logs in by IAM and acts as it (or null)."
  value = {
    user       = var.application.user
    iam_user   = local.iam_user
    secret_arn = aws_secretsmanager_secret.login[var.application.user].arn
    key_arn    = var.database.key_arn
  }
}

# Apart from application: what stands on a create-before-destroy policy or a proxy would else include this function, which
# could not be replaced under its name when an apply died while making it.
output "migration" {
  description = "The last migration, for what must come after the schema and the users exist."
  value       = aws_lambda_invocation.apply.id
}

output "secret_arns" {
  description = "The secret of each user that logs in by password. Who logs in by IAM is granted rds-db:connect on the database's rds_db_arn_prefix, a slash and the user."
  value       = { for user in local.password_users : user => aws_secretsmanager_secret.login[user].arn }

  depends_on = [aws_lambda_invocation.apply]
}

output "result" {
  description = "What the last invocation answered, as JSON: the migrations applied, the roles and passwords changed."
  value       = aws_lambda_invocation.apply.result
}

output "function_arn" {
  description = "The function, to be invoked by hand."
  value       = aws_lambda_function.migrator.arn
}

output "monitoring" {
  description = "What is watched of the bootstrap function, for the observability module: its name."
  value       = { name = aws_lambda_function.migrator.function_name }
}
