resource "aws_vpc_security_group_egress_rule" "everything" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_egress_rule" "many_ports" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv6         = "::/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 8443
}

resource "aws_vpc_security_group_ingress_rule" "from_addresses" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = "10.0.0.0/16"
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_ingress_rule" "within_a_range" {
  security_group_id = "sg-0123456789abcdef1"
  prefix_list_id    = "pl-0123456789abcdef0"
  ip_protocol       = "tcp"
  from_port         = 1024
  to_port           = 65535
}

resource "aws_vpc_security_group_ingress_rule" "all_protocols" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv6         = "fd00::/8"
  ip_protocol       = "-1"
}
