resource "aws_vpc_security_group_egress_rule" "to_group" {
  security_group_id            = "sg-0123456789abcdef0"
  referenced_security_group_id = "sg-0123456789abcdef1"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "from_group" {
  security_group_id            = "sg-0123456789abcdef1"
  referenced_security_group_id = "sg-0123456789abcdef0"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_ingress_rule" "another_port" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = "10.0.0.0/16"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

variable "unknown_range" {
  type = string
}

variable "unknown_port" {
  type = number
}

resource "aws_vpc_security_group_egress_rule" "not_known" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = var.unknown_range
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "not_known" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = var.unknown_range
  ip_protocol       = "tcp"
  from_port         = var.unknown_port
  to_port           = var.unknown_port
}

resource "aws_vpc_security_group_ingress_rule" "icmp" {
  security_group_id = "sg-0123456789abcdef1"
  cidr_ipv4         = "10.0.0.0/16"
  ip_protocol       = "icmp"
  from_port         = -1
  to_port           = -1
}

resource "aws_vpc_security_group_egress_rule" "own_network" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = "10.0.0.0/8"
  ip_protocol       = "-1"
}

resource "aws_security_group_rule" "from_group" {
  security_group_id        = "sg-0123456789abcdef1"
  type                     = "ingress"
  source_security_group_id = "sg-0123456789abcdef0"
  protocol                 = "tcp"
  from_port                = 5432
  to_port                  = 5432
}

resource "aws_security_group_rule" "https" {
  security_group_id = "sg-0123456789abcdef0"
  type              = "egress"
  cidr_blocks       = ["0.0.0.0/0"]
  ipv6_cidr_blocks  = ["::/0"]
  protocol          = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group_rule" "web" {
  security_group_id = "sg-0123456789abcdef0"
  type              = "ingress"
  cidr_blocks       = ["0.0.0.0/0"]
  protocol          = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group" "groups_and_https" {
  name   = "groups-and-https"
  vpc_id = "vpc-0123456789abcdef0"

  ingress {
    security_groups = ["sg-0123456789abcdef0"]
    protocol        = "tcp"
    from_port       = 5432
    to_port         = 5432
  }

  ingress {
    cidr_blocks = ["0.0.0.0/0"]
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
  }

  egress {
    cidr_blocks = ["0.0.0.0/0"]
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
  }
}
