resource "aws_iam_role_policy" "encoded_any_user" {
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

resource "aws_iam_policy" "encoded_any_database" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = {
      Effect   = "Allow"
      Action   = "rds-db:*"
      Resource = ["*"]
    }
  })
}

resource "aws_iam_user_policy" "encoded_question_mark" {
  user = "person"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "RDS-DB:Connec?"
      Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-0123456789abcdef0/ap?"
    }]
  })
}

resource "aws_iam_group_policy" "encoded_not_resource" {
  group = "people"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect      = "Allow"
      Action      = "rds-db:connect"
      NotResource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-0123456789abcdef0/master"
    }]
  })
}

resource "aws_iam_policy" "encoded_not_action" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      NotAction = "iam:*"
      Resource  = "*"
    }]
  })
}

resource "aws_iam_policy" "encoded_every_action" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "*"
      Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:*"
    }]
  })
}

resource "aws_iam_policy" "counted_any_user" {
  count = 1

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "rds-db:connect"
      Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:*/*"
    }]
  })
}

resource "aws_iam_policy" "each_any_user" {
  for_each = toset(["prx-0123456789abcdef0"])

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "rds-db:connect"
      Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:${each.key}/*"
    }]
  })
}

variable "logins" {
  type    = string
  default = "arn:aws:rds-db:us-east-1:111122223333:dbuser:*/*"
}

resource "aws_iam_policy" "variable_any_user" {
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "rds-db:connect", Resource = var.logins }]
  })
}

resource "aws_iam_policy" "unknown_but_for_the_user" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "rds-db:connect"
      Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:${aws_vpc.main.id}/*"
    }]
  })
}

resource "aws_iam_policy" "heredoc_any_user" {
  policy = <<-EOT
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Effect": "Allow",
          "Action": "rds-db:connect",
          "Resource": "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-0123456789abcdef0/*"
        }
      ]
    }
  EOT
}

resource "aws_iam_policy" "unknown_heredoc" {
  policy = <<-EOT
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Effect": "Allow",
          "Action": "rds-db:connect",
          "Resource": "arn:aws:rds-db:us-east-1:111122223333:dbuser:${aws_vpc.main.id}/*"
        }
      ]
    }
  EOT
}

resource "aws_iam_role" "inline_any_user" {
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [] })

  inline_policy {
    name = "log-in"
    policy = jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Effect   = "Allow"
        Action   = "rds-db:connect"
        Resource = "arn:aws:rds-db:us-east-1:111122223333:dbuser:*/app"
      }]
    })
  }
}

data "aws_iam_policy_document" "document_any_database" {
  statement {
    actions   = ["rds-db:connect"]
    resources = ["arn:aws:rds-db:us-east-1:111122223333:dbuser:*/app"]
  }
}

resource "aws_iam_policy" "document_any_database" {
  policy = data.aws_iam_policy_document.document_any_database.json
}

data "aws_iam_policy_document" "document_not_resources" {
  statement {
    actions       = ["rds-db:connect"]
    not_resources = ["arn:aws:rds-db:us-east-1:111122223333:dbuser:*/master"]
  }
}

resource "aws_iam_policy" "document_not_resources" {
  policy = data.aws_iam_policy_document.document_not_resources.json
}

data "aws_iam_policy_document" "unknown_document" {
  statement {
    actions   = ["rds-db:connect"]
    resources = ["arn:aws:rds-db:us-east-1:111122223333:dbuser:${aws_vpc.main.id}/*"]
  }
}

data "aws_iam_policy_document" "dynamic_statement" {
  dynamic "statement" {
    for_each = ["arn:aws:rds-db:us-east-1:111122223333:dbuser:*/app"]

    content {
      actions   = ["rds-db:connect"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_policy" "dynamic_statement" {
  policy = data.aws_iam_policy_document.dynamic_statement.json
}

resource "aws_iam_policy" "computed_any_user" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "rds-db:connect"
      Resource = [for id in ["prx-0123456789abcdef0"] : format("arn:aws:rds-db:us-east-1:111122223333:dbuser:%s/*", id)]
    }]
  })
}

resource "aws_iam_policy" "unknown_and_computed" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "rds-db:connect"
      Resource = [for id in [aws_vpc.main.id] : format("arn:aws:rds-db:us-east-1:111122223333:dbuser:%s/*", id)]
    }]
  })
}
