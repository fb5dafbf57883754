output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.main.id
}

output "subnet_ids" {
  description = "The isolated subnets, one a zone, in the order of zone_ids."
  value       = [for zone in var.zone_ids : aws_subnet.isolated[zone].id]

  depends_on = [aws_route_table_association.isolated, aws_route.egress]
}

output "zone_names" {
  description = "Names, in this account, of the zones of subnet_ids, in the same order."
  value       = [for zone in var.zone_ids : aws_subnet.isolated[zone].availability_zone]
}

output "security_group_ids" {
  description = "Security group of each tier."
  value       = { for tier in local.tiers : tier => aws_security_group.tier[tier].id }

  # Who holds the groups may use the paths: the rules and the endpoints stand before, and fall after.
  depends_on = [
    aws_vpc_security_group_egress_rule.pair,
    aws_vpc_security_group_ingress_rule.pair,
    aws_vpc_security_group_egress_rule.internet,
    aws_vpc_endpoint.interface,
  ]
}

output "free_addresses" {
  description = "Addresses that each subnet has left for each proxy."
  value       = floor(local.free_addresses / max(1, length(local.proxies)))
}

output "location" {
  description = "Partition, region and account that the VPC is in."
  value       = { partition = local.partition, region = local.region, account = local.account }
}

output "log_key_arn" {
  description = "The KMS key of the log groups of this network, whose names begin with its own."
  value       = aws_kms_key.logs.arn
}

output "database_port" {
  description = "Port at which the security groups let clients reach the database."
  value       = var.database_port
}
