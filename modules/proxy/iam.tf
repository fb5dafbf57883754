resource "aws_iam_role" "main" {
  name_prefix = "${substr(var.name, 0, 31)}-proxy-" # of at most 38; a role's name is taken in every region

  # No condition: RDS Proxy supports no global condition keys.
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "main" {
  name = "read-secret"
  role = aws_iam_role.main.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadSecret"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = var.application.secret_arn
      },
      {
        Sid       = "UseItsKey"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = var.application.key_arn
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }
      },
    ]
  })
}

locals {
  region = var.network.location.region
}
