resource "aws_vpc_security_group_ingress_rule" "own_from_addresses" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = "10.0.0.0/16"
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_ingress_rule" "own_within_a_range" {
  security_group_id = "sg-0123456789abcdef1"
  prefix_list_id    = "pl-0123456789abcdef0"
  ip_protocol       = "tcp"
  from_port         = 1024
  to_port           = 65535
}

resource "aws_vpc_security_group_ingress_rule" "own_all_protocols" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv6         = "fd00::/8"
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_ingress_rule" "own_protocol_by_number" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "6"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_ingress_rule" "unknown_addresses" {
  security_group_id = aws_security_group.inline_ingress.id
  cidr_ipv4         = aws_vpc.main.cidr_block
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_ingress_rule" "each_half" {
  for_each = toset(["0.0.0.0/1", "128.0.0.0/1"])

  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_ingress_rule" "counted_world" {
  count = 1

  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

variable "postgresql" {
  type    = number
  default = 5432
}

resource "aws_vpc_security_group_ingress_rule" "variable_port" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = var.anywhere
  ip_protocol       = "tcp"
  from_port         = var.postgresql
  to_port           = var.postgresql
}

resource "aws_security_group_rule" "rule_ingress" {
  security_group_id = "sg-0123456789abcdef1"
  type              = "ingress"
  cidr_blocks       = ["0.0.0.0/0"]
  protocol          = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_security_group_rule" "rule_ingress_ipv6" {
  security_group_id = "sg-0123456789abcdef1"
  type              = "ingress"
  ipv6_cidr_blocks  = ["::/0"]
  protocol          = "all"
  from_port         = 0
  to_port           = 0
}

resource "aws_security_group_rule" "rule_ingress_prefix_list" {
  security_group_id = "sg-0123456789abcdef1"
  type              = "ingress"
  prefix_list_ids   = ["pl-0123456789abcdef0"]
  protocol          = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_security_group" "inline_ingress" {
  name   = "inline-ingress"
  vpc_id = aws_vpc.main.id

  ingress {
    cidr_blocks = ["0.0.0.0/0"]
    protocol    = "tcp"
    from_port   = 5432
    to_port     = 5432
  }
}

resource "aws_security_group" "inline_second_ingress" {
  name   = "inline-second-ingress"
  vpc_id = "vpc-0123456789abcdef0"

  ingress {
    security_groups = ["sg-0123456789abcdef0"]
    protocol        = "tcp"
    from_port       = 5432
    to_port         = 5432
  }

  ingress {
    ipv6_cidr_blocks = ["::/0"]
    protocol         = "tcp"
    from_port        = 0
    to_port          = 65535
  }
}

resource "aws_security_group" "attribute_ingress" {
  name   = "attribute-ingress"
  vpc_id = "vpc-0123456789abcdef0"

  ingress = [{
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = []
    prefix_list_ids  = []
    security_groups  = []
    self             = false
    description      = ""
    protocol         = "tcp"
    from_port        = 5432
    to_port          = 5432
  }]
}

resource "aws_security_group" "dynamic_ingress" {
  name   = "dynamic-ingress"
  vpc_id = "vpc-0123456789abcdef0"

  dynamic "ingress" {
    for_each = toset([5432])

    content {
      cidr_blocks = ["0.0.0.0/0"]
      protocol    = "tcp"
      from_port   = ingress.value
      to_port     = ingress.value
    }
  }
}
