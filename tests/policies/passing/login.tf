resource "aws_iam_role_policy" "one_user" {
  role = "function"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "rds-db:connect"
        Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-0123456789abcdef0/app"
      },
      {
        Effect   = "Deny"
        Action   = ["rds-db:connect"]
        Resource = "*"
      },
    ]
  })
}

data "aws_iam_policy_document" "one_user" {
  statement {
    actions   = ["rds-db:connect"]
    resources = ["arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-0123456789abcdef0/app"]
  }

  statement {
    actions   = ["xray:PutTraceSegments"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "inline_one_user" {
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [] })

  inline_policy {
    name = "log-in"
    policy = jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Effect   = "Allow"
        Action   = "rds-db:connect"
        Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-0123456789abcdef0/app"
      }]
    })
  }
}

resource "aws_iam_policy" "others" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "s3:*", Resource = "*" },
      { Effect = "Deny", NotAction = "iam:*", Resource = "*" },
      { Effect = "Allow", NotAction = ["iam:*", "rds-db:*"], Resource = "*" },
    ]
  })
}

resource "aws_iam_policy" "not_known" {
  policy = var.unknown
}
