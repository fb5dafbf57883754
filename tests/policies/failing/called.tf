module "called" {
  source = "./called"

  world    = "0.0.0.0/0"
  login    = "arn:aws:rds-db:us-east-1:111122223333:dbuser:*/app"
  password = "an-example-no-secret"
  off      = "0"
  on       = true
  tls      = false
  iam      = "DISABLED"
  days     = 0
}

# Something that a plan does not know.
resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}
