# Only with var.egress: public subnets, in which nothing but the NAT gateways stands.
locals {
  nat_zones = var.egress == null ? [] : var.egress.nat == "one" ? [var.zone_ids[0]] : var.zone_ids
}

resource "aws_internet_gateway" "main" {
  for_each = toset(var.egress == null ? [] : ["nat"])

  vpc_id = aws_vpc.main.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = toset(local.nat_zones)

  vpc_id               = aws_vpc.main.id
  availability_zone_id = each.key
  cidr_block           = cidrsubnet(var.cidr, 3, 4 + index(var.zone_ids, each.key))

  tags = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_route_table" "public" {
  for_each = aws_internet_gateway.main

  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-public" }
}

resource "aws_route" "public" {
  for_each = aws_internet_gateway.main

  route_table_id         = aws_route_table.public[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = each.value.id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  route_table_id = aws_route_table.public["nat"].id
  subnet_id      = each.value.id
}

resource "aws_eip" "nat" {
  for_each = aws_subnet.public

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_nat_gateway" "main" {
  for_each = aws_subnet.public

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = each.value.id

  tags = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_route.public]
}

# To the gateway of the same zone, where there is one.
resource "aws_route" "egress" {
  for_each = toset(var.egress == null ? [] : var.zone_ids)

  route_table_id         = aws_route_table.isolated[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main[contains(local.nat_zones, each.key) ? each.key : local.nat_zones[0]].id
}

# The only rule that names addresses: HTTPS to anywhere, for the tiers in egress.
resource "aws_vpc_security_group_egress_rule" "internet" {
  for_each = toset(var.egress == null ? [] : var.egress.tiers)

  security_group_id = aws_security_group.tier[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  description       = "To the internet over HTTPS"
}
