resource "aws_vpc_endpoint" "interface" {
  for_each = var.endpoints

  vpc_id              = aws_vpc.main.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  subnet_ids          = [for zone in coalesce(var.endpoint_zone_ids, var.zone_ids) : aws_subnet.isolated[zone].id]
  security_group_ids  = [aws_security_group.tier[each.key].id]
  private_dns_enabled = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ThisAccountOnly"
      Effect    = "Allow"
      Principal = { AWS = "*" }
      Action    = "*" # the endpoint leads to this service only, whose actions may have another prefix
      Resource  = "*"
      Condition = { StringEquals = { "aws:PrincipalAccount" = local.account } }
    }]
  })

  tags = { Name = "${var.name}-${each.key}" }
}
