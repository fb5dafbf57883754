# A security group for each tier, and a pair of rules for each step of a path. An endpoint is a tier too, reached over
# HTTPS instead of PostgreSQL.
locals {
  tiers = distinct(flatten(var.paths))

  # What a tier is follows from its place on the paths, whatever its name.
  connecting = toset(flatten([for path in var.paths : slice(path, 0, max(0, length(path) - 1))]))
  connected  = toset(flatten([for path in var.paths : slice(path, min(1, length(path)), length(path))]))
  clients    = setsubtract(local.connecting, local.connected)
  proxies    = setintersection(local.connecting, local.connected)
  databases  = setsubtract(local.connected, local.connecting)

  pairs = {
    for pair in distinct(concat(
      flatten([for path in var.paths : [
        for i in range(length(path) - 1) : { from = path[i], to = path[i + 1], port = contains(local.databases, path[i + 1]) ? var.database_port : 5432 }
      ]]),
      flatten([for endpoint, users in var.endpoints : [
        for user in users : { from = user, to = endpoint, port = 443 }
      ]]),
    )) : "${pair.from}-${pair.to}" => pair
  }
}

resource "aws_security_group" "tier" {
  # checkov:skip=CKV2_AWS_5:Attached by the modules that the whole network is passed to.
  for_each = toset(concat(local.tiers, keys(var.endpoints)))

  name        = "${var.name}-${each.key}"
  description = "Reached and left only as the paths of ${var.name} say."
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_security_group_egress_rule" "pair" {
  for_each = local.pairs

  security_group_id            = aws_security_group.tier[each.value.from].id
  referenced_security_group_id = aws_security_group.tier[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = "To ${each.value.to}"
}

resource "aws_vpc_security_group_ingress_rule" "pair" {
  for_each = local.pairs

  security_group_id            = aws_security_group.tier[each.value.to].id
  referenced_security_group_id = aws_security_group.tier[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = "From ${each.value.from}"
}
