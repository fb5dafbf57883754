locals {
  # arn:aws:rds:REGION:ACCOUNT:db-proxy:prx-ID; the id, not the name, is what rds-db:connect is granted on.
  arn = split(":", aws_db_proxy.main.arn)
}

output "connection" {
  description = "How a client connects through the proxy, in the shape of the database's connection. No limit of clients (max_clients null): they share the pool."
  value = {
    host              = aws_db_proxy.main.endpoint
    port              = 5432
    database          = var.database.connection.database
    rds_db_arn_prefix = "arn:${local.arn[1]}:rds-db:${local.arn[3]}:${local.arn[4]}:dbuser:${local.arn[6]}"
    ca_file           = "amazon-trust-services.pem"
    max_clients       = null
  }

  # Without a target the proxy answers nobody.
  depends_on = [aws_db_proxy_target.main]
}

output "name" {
  description = "Name of the proxy."
  value       = aws_db_proxy.main.name
}
