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

# Secrets Manager may call the function for these secrets only, not for another one of the account that names it.
resource "aws_lambda_permission" "rotation" {
  for_each = local.password_users

  statement_id   = "rotation-${replace(each.key, "/[^0-9A-Za-z_-]/", "-")}-${substr(sha256(each.key), 0, 8)}"
  function_name  = aws_lambda_function.migrator.function_name
  action         = "lambda:InvokeFunction"
  principal      = "secretsmanager.amazonaws.com"
  source_account = local.account
  source_arn     = aws_secretsmanager_secret.login[each.key].arn
}
