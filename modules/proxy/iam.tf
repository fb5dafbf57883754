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
        Resource = local.secret_arns[0]
      },
      {
        Sid       = "UseItsKey"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = distinct(var.applications[*].key_arn)
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }
      },
    ]
  })
}

# The inline policies of a role have at most 10,240 characters together, too few for the secrets of many applications.
resource "aws_iam_policy" "further" {
  for_each = { for number, arns in local.secret_arns : number => arns if number > 0 }

  name_prefix = "${var.name}-proxy-secrets-"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "ReadSecret"
      Effect   = "Allow"
      Action   = "secretsmanager:GetSecretValue"
      Resource = each.value
    }]
  })
}

resource "aws_iam_role_policy_attachment" "further" {
  for_each = aws_iam_policy.further

  role       = aws_iam_role.main.name
  policy_arn = each.value.arn
}

locals {
  region = var.network.location.region

  # 25 ARNs of the longest that there are fit into a managed policy, which has at most 6,144 characters; a role takes ten.
  secret_arns = chunklist(var.applications[*].secret_arn, 25)
}
