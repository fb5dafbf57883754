# Unless topics are given: one topic, which carries the names and numbers of what is broken, encrypted with its own key.
# CloudWatch could not publish to a topic under AWS's key aws/sns, whose policy nobody can change.
locals {
  own = toset(var.topic_arns == null ? ["own"] : [])

  by_these_alarms = {
    StringEquals = { "aws:SourceAccount" = local.account }
    ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.name}-*" }
  }
}

resource "aws_sns_topic" "own" {
  for_each = local.own

  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.topic[each.key].arn
}

resource "aws_sns_topic_policy" "own" {
  for_each = local.own

  arn = aws_sns_topic.own[each.key].arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsOfThisStack"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.own[each.key].arn
      Condition = local.by_these_alarms
    }]
  })
}

resource "aws_kms_key" "topic" {
  for_each = local.own

  description             = "Alarms of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AccountDecidesByIam"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "AlarmsOfThisStack"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = local.by_these_alarms
      },
    ]
  })
}

resource "aws_kms_alias" "topic" {
  for_each = local.own

  name          = "alias/${var.name}-alarms"
  target_key_id = aws_kms_key.topic[each.key].id
}
