# Each pair of tiers has two rules, each of which names the other side's group.
locals {
  pairs = {
    function-proxy     = { from = "function", to = "proxy" }
    proxy-database     = { from = "proxy", to = "database" }
    bootstrap-database = { from = "bootstrap", to = "database" }
  }
}

resource "aws_security_group" "tier" {
  # checkov:skip=CKV2_AWS_5:Attached by the modules that local.network is passed to.
  for_each = toset(["function", "proxy", "database", "bootstrap"])

  name        = "${local.name}-${each.key}"
  description = "Reached and left only as the pairs of ${local.name} say."
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "pair" {
  for_each = local.pairs

  security_group_id            = aws_security_group.tier[each.value.from].id
  referenced_security_group_id = aws_security_group.tier[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  description                  = "To ${each.value.to}"
}

resource "aws_vpc_security_group_ingress_rule" "pair" {
  for_each = local.pairs

  security_group_id            = aws_security_group.tier[each.value.to].id
  referenced_security_group_id = aws_security_group.tier[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  description                  = "From ${each.value.from}"
}

resource "aws_vpc_security_group_egress_rule" "secrets" {
  security_group_id            = aws_security_group.tier["bootstrap"].id
  referenced_security_group_id = local.secretsmanager_group_id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  description                  = "To Secrets Manager"
}

resource "aws_vpc_security_group_ingress_rule" "secrets" {
  security_group_id            = local.secretsmanager_group_id
  referenced_security_group_id = aws_security_group.tier["bootstrap"].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  description                  = "From the bootstrap function of ${local.name}"
}
