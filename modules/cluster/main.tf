locals {
  partition = var.network.location.partition
  region    = var.network.location.region
  account   = var.network.location.account
}

resource "aws_rds_cluster" "main" {
  # checkov:skip=CKV_AWS_133:Backups are kept for var.backups.retention_days, 7 unless given and never 0; checkov does not read defaults of objects.
  # checkov:skip=CKV_AWS_139:Protection is var.deletion_protection, true unless an environment such as dev may be thrown away.
  # checkov:skip=CKV2_AWS_8:RDS keeps its own backups of every day; a plan of AWS Backup is the account's to make.
  cluster_identifier = var.name
  engine             = local.aurora ? "aurora-postgresql" : "postgres"
  engine_mode        = "provisioned"
  engine_version     = tostring(var.postgres_version)

  database_name   = var.database.name
  master_username = var.database.master_user
  port            = var.network.database_port

  # RDS makes and rotates the master password: Terraform never sees it.
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = aws_kms_key.data.arn
  iam_database_authentication_enabled = var.iam_authentication

  # Aurora has no sizes of storage. For a Multi-AZ cluster a size, a class and an authority are the cluster's.
  storage_type              = local.aurora ? var.storage.io_optimized ? "aurora-iopt1" : null : "gp3"
  allocated_storage         = local.aurora ? null : coalesce(var.storage.allocated_gib, 100)
  iops                      = local.aurora ? null : var.storage.iops
  db_cluster_instance_class = local.aurora ? null : var.instance_class
  ca_certificate_identifier = local.aurora ? null : "rds-ca-rsa2048-g1"
  storage_encrypted         = true
  kms_key_id                = var.storage_key_arn
  snapshot_identifier       = var.restore_from_snapshot

  db_subnet_group_name            = aws_db_subnet_group.main.name
  vpc_security_group_ids          = [var.network.security_group_ids[var.tier]]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.main.name

  # During a major upgrade the group of the instances must follow; else the provider leaves it alone.
  db_instance_parameter_group_name = local.aurora ? aws_db_parameter_group.member["member"].name : null

  allow_major_version_upgrade  = true # it takes an edit of postgres_version, which a plan shows
  engine_lifecycle_support     = "open-source-rds-extended-support-disabled"
  apply_immediately            = local.now
  preferred_maintenance_window = var.changes.window
  preferred_backup_window      = var.backups.window
  backup_retention_period      = var.backups.retention_days
  copy_tags_to_snapshot        = true

  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.final_snapshot
  final_snapshot_identifier = "${var.name}-final-${substr(terraform_data.life.id, 0, 8)}"

  enabled_cloudwatch_logs_exports = keys(aws_cloudwatch_log_group.export)

  performance_insights_enabled          = local.aurora ? null : true
  performance_insights_kms_key_id       = local.aurora ? null : aws_kms_key.data.arn
  performance_insights_retention_period = local.aurora ? null : 7
  monitoring_interval                   = local.aurora ? null : 60
  monitoring_role_arn                   = local.aurora ? null : aws_iam_role.monitoring.arn

  dynamic "serverlessv2_scaling_configuration" {
    for_each = local.serverless ? [var.capacity] : []

    content {
      min_capacity             = serverlessv2_scaling_configuration.value.min_acu
      max_capacity             = serverlessv2_scaling_configuration.value.max_acu
      seconds_until_auto_pause = serverlessv2_scaling_configuration.value.min_acu == 0 ? serverlessv2_scaling_configuration.value.pause_after_seconds : null
    }
  }

  lifecycle {
    ignore_changes       = [snapshot_identifier] # it matters only when the cluster is made
    replace_triggered_by = [terraform_data.life]

    precondition {
      condition     = length(local.shares) == 0 || local.shares_in_clients <= local.max_clients
      error_message = "shares are ${local.share_names}: ${local.sum_of_shares} direct connections, and ${2 * local.sum_of_shares} during a deployment. With 4 for the bootstrap function of each, ${local.for_bootstraps}, and 2 for people that is ${local.shares_in_clients}, but the writer takes ${local.max_clients} clients. Choose lower shares, a larger class or capacity, or the proxy."
    }

    # At once both are remembered anew by the very plan that changes them.
    precondition {
      condition     = terraform_data.settled.input.iam_authentication == var.iam_authentication
      error_message = "iam_authentication cannot change in_window: functions would log in as the servers do not let them yet. Apply changes.apply = \"now\" first, alone, and then change it."
    }

    precondition {
      condition     = terraform_data.settled.input.postgres_version == var.postgres_version
      error_message = "postgres_version cannot change in_window: RDS holds the old parameter group until then, and Terraform could not delete it. Apply changes.apply = \"now\" first, alone, and then change it."
    }
  }

  depends_on = [aws_iam_role_policy_attachment.monitoring]
}

# Its id is new in each life of the cluster, so a second destroy does not trip over the first one's snapshot: a change that
# replaces the cluster begins another life.
resource "terraform_data" "life" {
  input            = var.restore_from_snapshot
  triggers_replace = [var.engine, var.database, var.storage_key_arn]

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = var.restore_from_snapshot == null ? true : var.restore_from_snapshot == self.input
      error_message = "restore_from_snapshot ${coalesce(var.restore_from_snapshot, "null")} cannot be restored into ${var.name}, which exists. Destroy it first, or replace this resource to lose what it holds now."
    }
  }
}

resource "aws_db_subnet_group" "main" {
  name        = var.name
  description = "Isolated subnets of ${var.name}"
  subnet_ids  = var.network.subnet_ids
}

# Secrets and performance data, which end with the environment. What outlives it, storage and snapshots, is encrypted with
# a key that destroy cannot delete: see Restore in the README of modules/database.
resource "aws_kms_key" "data" {
  description             = "Secrets and performance data of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AccountDecidesByIam"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}

resource "aws_kms_alias" "data" {
  name          = "alias/${var.name}-data"
  target_key_id = aws_kms_key.data.id
}
