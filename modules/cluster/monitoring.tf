locals {
  # Performance Insights takes memory, which AWS advises to have from 2 ACU on.
  insights = !local.serverless || local.min_acu >= 2

  # A Multi-AZ cluster has its settings itself; an Aurora cluster leaves them to its instances, which must be alike.
  exports = local.aurora ? ["iam-db-auth-error", "postgresql"] : ["iam-db-auth-error", "postgresql", "upgrade"]
}

# Made before the cluster, which would else make them itself: unencrypted, and kept for ever.
resource "aws_cloudwatch_log_group" "export" {
  for_each = toset(local.exports)

  name              = "/aws/rds/cluster/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.network.log_key_arn
}

# Readers that Application Auto Scaling adds have names of its own, so the condition names the account's instances.
resource "aws_iam_role" "monitoring" {
  name_prefix = "${substr(var.name, 0, 26)}-monitoring-" # of at most 38; a role's name is taken in every region

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:rds:${local.region}:${local.account}:db:${local.scales ? "*" : "${var.name}-*"}" }
      }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
