locals {
  # arn:aws:rds:REGION:ACCOUNT:db-proxy:prx-ID; the id, not the name, is what rds-db:connect is granted on.
  arn = split(":", aws_db_proxy.main.arn)

  connection = {
    host                   = aws_db_proxy.main.endpoint
    port                   = 5432
    database               = var.database.connection.database
    rds_db_arn_prefix      = "arn:${local.arn[1]}:rds-db:${local.arn[3]}:${local.arn[4]}:dbuser:${local.arn[6]}"
    ca_file                = "amazon-trust-services.pem"
    max_clients            = null
    shares                 = var.shares
    pool_size              = local.pool_size
    borrow_timeout_seconds = var.pool.borrow_timeout_seconds
    auth                   = var.auth
    direct                 = false
    resume_seconds         = 0
    iam_logins_per_second  = null
  }

  # The pool's share is counted for each reader.
  endpoint_connections = { for name, endpoint in aws_db_proxy_endpoint.further : name => merge(local.connection, {
    host      = endpoint.endpoint
    pool_size = local.pool_size * (var.endpoints[name].target_role == "READ_ONLY" ? try(var.database.cluster.readers, 1) : 1)
  }) }

  # Those beside the proxy first: one of another VPC is out of the reach of functions here.
  read_only = [for order in sort([for name, endpoint in var.endpoints : "${endpoint.subnet_ids == null ? "near" : "other"}/${name}" if endpoint.target_role == "READ_ONLY"]) : split("/", order)[1]]
}

output "connection" {
  description = "How a client connects through the proxy, in the shape of the database's connection. No limit of clients (max_clients null): they share the pool."
  value       = local.connection

  # Without a target the proxy answers nobody.
  depends_on = [aws_db_proxy_target.main]
}

output "endpoint_connections" {
  description = "The same through each further endpoint."
  value       = local.endpoint_connections

  depends_on = [aws_db_proxy_target.main]
}

output "reader_connection" {
  description = "The same to the readers of a cluster, through the first endpoint that is READ_ONLY, rather one beside the proxy than one with subnets of its own. Null without one."
  value       = one([for name in slice(local.read_only, 0, min(1, length(local.read_only))) : local.endpoint_connections[name]])

  depends_on = [aws_db_proxy_target.main]
}

output "name" {
  description = "Name of the proxy."
  value       = aws_db_proxy.main.name
}

output "wait_for" {
  description = "What to wait for after an apply that made the proxy or its target."
  value       = "A new target is not AVAILABLE for some minutes, in which connections fail: aws rds describe-db-proxy-targets --db-proxy-name ${aws_db_proxy.main.name} --region ${local.arn[3]} --query 'Targets[].TargetHealth'"

  depends_on = [aws_db_proxy_target.main]
}

output "monitoring" {
  description = "What is watched of the proxy, for the observability module: its name and its pool."
  value = {
    name                   = aws_db_proxy.main.name
    pool_size              = local.pool_size
    borrow_timeout_seconds = var.pool.borrow_timeout_seconds
  }
}
