locals {
  # The VPC's own ARN says where it is, so nothing here asks AWS who is calling.
  partition = split(":", aws_vpc.main.arn)[1]
  region    = split(":", aws_vpc.main.arn)[3]
  account   = aws_vpc.main.owner_id
}

resource "aws_vpc" "main" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.name }
}

# Nothing uses the default group, except functions for the moment in which they are destroyed.
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

# It has no route but the VPC's own: what is in these subnets cannot reach the internet, nor be reached.
resource "aws_route_table" "isolated" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-isolated" }
}

resource "aws_route_table_association" "isolated" {
  for_each = aws_subnet.isolated

  route_table_id = aws_route_table.isolated.id
  subnet_id      = each.value.id
}
