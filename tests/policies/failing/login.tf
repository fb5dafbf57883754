resource "aws_iam_role_policy" "any_user" {
  role = "function"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["rds-db:connect"]
      Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-0123456789abcdef0/*"
    }]
  })
}

resource "aws_iam_policy" "any_database" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = {
      Effect   = "Allow"
      Action   = "rds-db:*"
      Resource = ["*"]
    }
  })
}

data "aws_iam_policy_document" "any_database" {
  statement {
    actions   = ["rds-db:connect"]
    resources = ["arn:aws:rds-db:us-east-1:111122223333:dbuser:*/app"]
  }
}
