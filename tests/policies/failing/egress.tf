resource "aws_vpc_security_group_egress_rule" "own_everything" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_egress_rule" "own_many_ports" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv6         = "::/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 8443
}

resource "aws_vpc_security_group_egress_rule" "own_lower_half" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = "0.0.0.0/1"
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_egress_rule" "own_all_of_unicast" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv6         = "2000::/3"
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_egress_rule" "each_half" {
  for_each = toset(["0.0.0.0/1", "128.0.0.0/1"])

  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = each.key
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_egress_rule" "counted_halves" {
  count = 2

  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = ["0.0.0.0/1", "128.0.0.0/1"][count.index]
  ip_protocol       = "-1"
}

variable "anywhere" {
  type    = string
  default = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "variable_world" {
  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = var.anywhere
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_egress_rule" "unknown_group" {
  security_group_id = aws_security_group.inline_egress.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_security_group_rule" "rule_egress" {
  security_group_id = "sg-0123456789abcdef0"
  type              = "egress"
  cidr_blocks       = ["0.0.0.0/0"]
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
}

resource "aws_security_group_rule" "rule_egress_in_halves" {
  security_group_id = "sg-0123456789abcdef0"
  type              = "egress"
  cidr_blocks       = ["10.0.0.0/16", "0.0.0.0/1", "128.0.0.0/1"]
  protocol          = "tcp"
  from_port         = 0
  to_port           = 65535
}

resource "aws_security_group_rule" "rule_egress_ipv6" {
  security_group_id = "sg-0123456789abcdef0"
  type              = "egress"
  ipv6_cidr_blocks  = ["::/0"]
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
}

resource "aws_security_group" "inline_egress" {
  name   = "inline-egress"
  vpc_id = aws_vpc.main.id

  egress {
    cidr_blocks = ["0.0.0.0/0"]
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
  }
}

resource "aws_security_group" "inline_second_egress" {
  name   = "inline-second-egress"
  vpc_id = "vpc-0123456789abcdef0"

  egress {
    cidr_blocks = ["0.0.0.0/0"]
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
  }

  egress {
    ipv6_cidr_blocks = ["::/0"]
    protocol         = "-1"
    from_port        = 0
    to_port          = 0
  }
}

resource "aws_default_security_group" "inline_egress" {
  vpc_id = "vpc-0123456789abcdef0"

  egress {
    cidr_blocks = ["0.0.0.0/0"]
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
  }
}

resource "aws_security_group" "attribute_egress" {
  name   = "attribute-egress"
  vpc_id = "vpc-0123456789abcdef0"

  egress = [{
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = []
    prefix_list_ids  = []
    security_groups  = []
    self             = false
    description      = ""
    protocol         = "-1"
    from_port        = 0
    to_port          = 0
  }]
}

resource "aws_security_group" "dynamic_egress" {
  name   = "dynamic-egress"
  vpc_id = "vpc-0123456789abcdef0"

  dynamic "egress" {
    for_each = ["0.0.0.0/0"]

    content {
      cidr_blocks = [egress.value]
      protocol    = "-1"
      from_port   = 0
      to_port     = 0
    }
  }
}

# Each no wider than a private range; a policy looks at one resource at a time.
resource "aws_vpc_security_group_egress_rule" "blind_pieces" {
  for_each = toset(["8.0.0.0/8", "9.0.0.0/8"])

  security_group_id = "sg-0123456789abcdef0"
  cidr_ipv4         = each.key
  ip_protocol       = "-1"
}
