locals {
  connection = {
    host                   = aws_rds_cluster.main.endpoint
    port                   = aws_rds_cluster.main.port
    database               = aws_rds_cluster.main.database_name
    rds_db_arn_prefix      = "arn:${local.partition}:rds-db:${local.region}:${local.account}:dbuser:${aws_rds_cluster.main.cluster_resource_id}"
    ca_file                = "rds-${local.region}.pem"
    max_clients            = local.max_clients
    shares                 = var.shares
    pool_size              = null
    borrow_timeout_seconds = 0
    auth                   = var.iam_authentication ? null : "secret"
    direct                 = true
    resume_seconds         = local.resume_seconds
    iam_logins_per_second  = 200 # below it, says AWS, of each instance
  }

  cluster = {
    readers          = local.readers
    postgres_version = local.now ? var.postgres_version : terraform_data.settled.input.postgres_version
    aurora           = local.aurora
    serverless       = local.serverless
  }
}

output "connection" {
  description = "How a client connects straight to the writer, in the shape that the function module takes."
  value       = local.connection

  # Without an instance the endpoint leads nowhere.
  depends_on = [aws_rds_cluster_instance.member]
}

output "reader_connection" {
  description = "The same to the readers: max_clients is that of all of them. Null without readers."
  value = local.readers == 0 ? null : merge(local.connection, {
    host                  = aws_rds_cluster.main.reader_endpoint
    max_clients           = local.readers * local.max_clients
    iam_logins_per_second = local.readers * local.connection.iam_logins_per_second
  })

  depends_on = [aws_rds_cluster_instance.member]
}

output "identifier" {
  description = "Identifier of the cluster."
  value       = aws_rds_cluster.main.cluster_identifier

  # A proxy takes a cluster for its target only once an instance is ready.
  depends_on = [aws_rds_cluster_instance.member]
}

output "resource_id" {
  description = "Id of the cluster, new with each cluster: a proxy's target follows it."
  value       = aws_rds_cluster.main.cluster_resource_id
}

output "final_snapshot" {
  description = "Name of the snapshot that is taken when the cluster is deleted; null without one."
  value       = var.final_snapshot ? aws_rds_cluster.main.final_snapshot_identifier : null
}

output "instance_class" {
  description = "Class of the instances, by which a proxy is measured."
  value       = local.now ? var.instance_class : terraform_data.settled.input.instance_class
}

output "iam_authentication" {
  description = "Whether users may log in with IAM tokens."
  value       = aws_rds_cluster.main.iam_database_authentication_enabled
}

output "master_user" {
  description = "Name of the master user, which nobody else can have."
  value       = aws_rds_cluster.main.master_username
}

output "master_secret_arn" {
  description = "The master user's secret, made and rotated by RDS."
  value       = aws_rds_cluster.main.master_user_secret[0].secret_arn
}

output "key_arn" {
  description = "The KMS key of the secrets."
  value       = aws_kms_key.data.arn
}

output "monitoring" {
  description = "What is watched of the cluster, for the observability module: its identifier, the limits of an instance (memory_gib null: of a class that is not known here; storage_gib null: Aurora's grows), and what it is."
  value = {
    identifier  = aws_rds_cluster.main.cluster_identifier
    max_clients = local.max_clients
    memory_gib  = local.memory_gib
    storage_gib = local.aurora ? null : coalesce(var.storage.allocated_gib, 100)
    cluster     = local.cluster
  }
}

output "cluster" {
  description = "What a proxy must know of the cluster: its readers, its version, and what it is."
  value       = local.cluster
}
