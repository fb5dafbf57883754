locals {
  # Read from the VPC's own ARN, so that no AWS API is asked. The VPC is made here, so its account is the caller's.
  partition = split(":", aws_vpc.main.arn)[1]
  region    = split(":", aws_vpc.main.arn)[3]
  account   = aws_vpc.main.owner_id

  # Addresses of each subnet: AWS keeps 5, a database takes 2, an endpoint 1, and a client 1, which is one function: each
  # further function in that tier takes one more, which is not known here. A proxy wants 10. For instances above xlarge a
  # proxy wants more, which the proxy module checks.
  subnet_addresses   = try(pow(2, 29 - tonumber(split("/", var.cidr)[1])), 0)
  database_addresses = 2 * length(local.databases)
  interfaces         = length(local.clients) + length(var.endpoints)
  free_addresses     = local.subnet_addresses - 5 - local.database_addresses - local.interfaces
  proxy_addresses    = 10 * length(local.proxies)
}

resource "aws_vpc" "main" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.name }

  lifecycle {
    precondition {
      condition     = local.free_addresses >= local.proxy_addresses
      error_message = "cidr ${var.cidr} is too small: a subnet is an eighth of it, ${local.subnet_addresses} addresses. AWS keeps 5, databases take ${local.database_addresses}, functions and endpoints ${local.interfaces}, which leaves ${local.free_addresses}; proxies want ${local.proxy_addresses}. Choose a larger cidr."
    }
  }
}

# Nothing uses the default group; without rules it leads nowhere.
resource "aws_default_security_group" "main" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-default-unused" }
}

resource "aws_subnet" "isolated" {
  for_each = toset(var.zone_ids)

  vpc_id               = aws_vpc.main.id
  availability_zone_id = each.key
  cidr_block           = cidrsubnet(var.cidr, 3, index(var.zone_ids, each.key))

  tags = { Name = "${var.name}-isolated-${each.key}" }
}

# Their tables have no route but the VPC's own, until nat.tf adds a way out; there is never a way in.
resource "aws_route_table" "isolated" {
  for_each = aws_subnet.isolated

  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-isolated-${each.key}" }
}

resource "aws_route_table_association" "isolated" {
  for_each = aws_subnet.isolated

  route_table_id = aws_route_table.isolated[each.key].id
  subnet_id      = each.value.id
}
