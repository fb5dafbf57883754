# Containers only: the function makes the values inside the VPC, so no password passes through Terraform.
# A deleted secret keeps its name for 30 days, hence the suffix.
resource "aws_secretsmanager_secret" "login" {
  for_each = local.password_users

  name_prefix = "${var.name}-${each.key}-"
  description = "The database user ${each.key} of ${var.name}"
  kms_key_id  = var.database.key_arn
}

resource "aws_secretsmanager_secret_rotation" "login" {
  for_each = local.password_users

  secret_id           = aws_secretsmanager_secret.login[each.key].id
  rotation_lambda_arn = aws_lambda_function.migrator.arn
  rotate_immediately  = false

  rotation_rules {
    automatically_after_days = var.rotation_days
  }

  # Secrets Manager tries the function at once, and only a value can be tested.
  depends_on = [aws_lambda_invocation.apply, aws_lambda_permission.rotation]
}

resource "aws_lambda_permission" "rotation" {
  statement_id   = "rotation"
  function_name  = aws_lambda_function.migrator.function_name
  action         = "lambda:InvokeFunction"
  principal      = "secretsmanager.amazonaws.com"
  source_account = local.account
}
