# Each pair of tiers has two rules, each of which names the other side's group. The groups of the instance and of the
# endpoint stay what they are: a destroy takes back the rules that were added to them.
locals {
  pairs = {
    function-proxy     = { from = "function", to = "proxy", port = 5432 }
    proxy-database     = { from = "proxy", to = "database", port = local.instance.port }
    bootstrap-database = { from = "bootstrap", to = "database", port = local.instance.port }
  }

  group_ids = merge(local.network.security_group_ids, { database = local.security_group_id })

  endpoint_group_id = sort(data.aws_vpc_endpoint.secretsmanager.security_group_ids)[0]
}

resource "aws_security_group" "tier" {
  # checkov:skip=CKV2_AWS_5:Attached by the modules that local.network is passed to.
  for_each = toset(["function", "proxy", "bootstrap"])

  name        = "${local.name}-${each.key}"
  description = "Reached and left only as the pairs of ${local.name} say."
  vpc_id      = data.aws_db_subnet_group.main.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "pair" {
  for_each = local.pairs

  security_group_id            = local.group_ids[each.value.from]
  referenced_security_group_id = local.group_ids[each.value.to]
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = "To ${each.value.to}"
}

resource "aws_vpc_security_group_ingress_rule" "pair" {
  for_each = local.pairs

  security_group_id            = local.group_ids[each.value.to]
  referenced_security_group_id = local.group_ids[each.value.from]
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = "From ${each.value.from} of ${local.name}"
}

resource "aws_vpc_security_group_egress_rule" "secrets" {
  security_group_id            = aws_security_group.tier["bootstrap"].id
  referenced_security_group_id = local.endpoint_group_id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  description                  = "To Secrets Manager"
}

resource "aws_vpc_security_group_ingress_rule" "secrets" {
  security_group_id            = local.endpoint_group_id
  referenced_security_group_id = aws_security_group.tier["bootstrap"].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  description                  = "From the bootstrap function of ${local.name}"
}
