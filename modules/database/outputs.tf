output "connection" {
  description = "How a client connects straight to the instance, in the shape that the function module takes."
  value = {
    host                   = aws_db_instance.main.address
    port                   = aws_db_instance.main.port
    database               = aws_db_instance.main.db_name
    rds_db_arn_prefix      = "arn:${local.partition}:rds-db:${local.region}:${local.account}:dbuser:${aws_db_instance.main.resource_id}"
    ca_file                = "rds-${local.region}.pem"
    max_clients            = local.max_clients
    shares                 = var.shares
    pool_size              = null
    borrow_timeout_seconds = 0
    auth                   = var.iam_authentication ? null : "secret"
    direct                 = true
    resume_seconds         = 0
    iam_logins_per_second  = null
  }
}

output "identifier" {
  description = "Identifier of the instance."
  value       = aws_db_instance.main.identifier
}

output "resource_id" {
  description = "Id of the instance, new with each instance: a proxy's target follows it."
  value       = aws_db_instance.main.resource_id
}

output "final_snapshot" {
  description = "Name of the snapshot that is taken when the instance is deleted; null without one."
  value       = var.final_snapshot ? aws_db_instance.main.final_snapshot_identifier : null
}

output "instance_class" {
  description = "Class of the instance, by which a proxy is measured."
  value       = local.now ? var.instance_class : terraform_data.settled.input.instance_class
}

output "iam_authentication" {
  description = "Whether users may log in with IAM tokens."
  value       = aws_db_instance.main.iam_database_authentication_enabled
}

output "master_user" {
  description = "Name of the master user, which nobody else can have."
  value       = aws_db_instance.main.username
}

output "master_secret_arn" {
  description = "The master user's secret, made and rotated by RDS. Null only in the plan that adopts an instance."
  value       = one(aws_db_instance.main.master_user_secret[*].secret_arn)
}

output "key_arn" {
  description = "The KMS key of the secrets."
  value       = aws_kms_key.data.arn
}

output "monitoring" {
  description = "What is watched of the instance, for the observability module: its identifier, its limits (memory_gib null: of a class that is not known here); cluster is null."
  value = {
    identifier  = aws_db_instance.main.identifier
    max_clients = local.max_clients
    memory_gib  = local.memory_gib
    storage_gib = var.storage.allocated_gib
    cluster     = null
  }
}

output "cluster" {
  description = "Null: an instance is no cluster."
  value       = null
}
