locals {
  # A Multi-AZ cluster always has two.
  readers          = local.aurora ? try(coalesce(var.readers.count, 1), 1) : 2
  scales           = local.aurora && try(var.readers.max_count, null) != null
  failover_targets = try(coalesce(var.readers.failover_targets, 1), 1)

  # The first is the writer until a failover. In tiers 0 and 1 a serverless reader is as large as the writer, which it may
  # have to follow; from tier 2 on it grows, shrinks and pauses for itself.
  members = local.aurora ? { for number in range(1, local.readers + 2) : tostring(number) => {
    zone = length(var.network.zone_names) == 0 ? null : var.network.zone_names[(number - 1) % length(var.network.zone_names)]
    tier = number == 1 ? 0 : number <= 1 + local.failover_targets ? 1 : 2
  } } : {}
}

resource "aws_rds_cluster_instance" "member" {
  # checkov:skip=CKV_AWS_353:Performance Insights is on, but for Serverless v2 below 2 ACU, whose memory it would take.
  # checkov:skip=CKV_AWS_354:The key is given wherever Performance Insights is on.
  for_each = local.members

  identifier         = "${var.name}-${each.key}"
  cluster_identifier = aws_rds_cluster.main.id
  engine             = aws_rds_cluster.main.engine
  instance_class     = var.instance_class
  availability_zone  = each.value.zone
  promotion_tier     = each.value.tier

  publicly_accessible        = false
  db_subnet_group_name       = aws_db_subnet_group.main.name
  db_parameter_group_name    = aws_db_parameter_group.member["member"].name
  apply_immediately          = local.now
  auto_minor_version_upgrade = true
  copy_tags_to_snapshot      = true

  performance_insights_enabled          = local.insights
  performance_insights_kms_key_id       = local.insights ? aws_kms_key.data.arn : null
  performance_insights_retention_period = local.insights ? 7 : null
  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.monitoring.arn

  depends_on = [aws_iam_role_policy_attachment.monitoring]
}

# AWS adds readers of the writer's class, and takes only its own away again. They are not in Terraform's state.
resource "aws_appautoscaling_target" "readers" {
  for_each = local.scales ? { readers = var.readers } : {}

  service_namespace  = "rds"
  scalable_dimension = "rds:cluster:ReadReplicaCount"
  resource_id        = "cluster:${aws_rds_cluster.main.cluster_identifier}"
  min_capacity       = local.readers
  max_capacity       = each.value.max_count

  depends_on = [aws_rds_cluster_instance.member]
}

resource "aws_appautoscaling_policy" "readers" {
  for_each = aws_appautoscaling_target.readers

  name               = "${var.name}-readers"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = each.value.service_namespace
  scalable_dimension = each.value.scalable_dimension
  resource_id        = each.value.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.readers.cpu_percent
    scale_in_cooldown  = 300
    scale_out_cooldown = 300

    predefined_metric_specification {
      predefined_metric_type = "RDSReaderAverageCPUUtilization"
    }
  }
}
