resource "aws_db_instance" "managed_password" {
  identifier                  = "app"
  engine                      = "postgres"
  instance_class              = "db.t4g.micro"
  allocated_storage           = 20
  username                    = "master"
  manage_master_user_password = true
}

resource "aws_ssm_parameter" "no_secret" {
  name  = "size"
  type  = "String"
  value = "large"
}
