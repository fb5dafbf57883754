# A VPC that is there already instead of the network module: its subnets and a key are named here, the chain of security
# groups is in security_groups.tf, and the object local.network stands where module.network would.

locals {
  name = "app-existing"

  # Where that VPC is; with a VPC that another account shares, the account that runs this.
  location = { partition = "aws", region = "us-east-1", account = "111122223333" }

  vpc_id     = "vpc-0123456789abcdef0"
  subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"] # in zones where RDS Proxy runs

  # Its policy must let CloudWatch Logs of that account use it. It may be another account's.
  log_key_arn = "arn:aws:kms:us-east-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"

  # The group of an interface endpoint for Secrets Manager, which the bootstrap function reaches over HTTPS.
  secretsmanager_group_id = "sg-0123456789abcdef0"

  network = {
    vpc_id             = local.vpc_id
    subnet_ids         = local.subnet_ids
    security_group_ids = { for tier, group in aws_security_group.tier : tier => group.id }
    log_key_arn        = local.log_key_arn
    location           = local.location
  }

  # Made by `make package` before the plan.
  packages = {
    function  = "${path.root}/../../build/output/function.zip"
    bootstrap = "${path.root}/../../build/output/bootstrap.zip"
    layer     = "${path.root}/../../build/output/layer-x86_64.zip"
  }
}

module "database" {
  source = "../../modules/database"

  name           = local.name
  network        = local.network
  instance_class = "db.m7g.large"
}

module "bootstrap" {
  source = "../../modules/bootstrap"

  name     = local.name
  network  = local.network
  database = module.database
  package  = local.packages.bootstrap
  layer    = local.packages.layer
}

module "proxy" {
  source = "../../modules/proxy"

  name         = local.name
  network      = local.network
  database     = module.database
  applications = [module.bootstrap.application]
}

module "function" {
  source = "../../modules/function"

  name                 = local.name
  network              = local.network
  connection           = module.proxy.connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = local.packages.function
  layer                = local.packages.layer
  reserved_concurrency = 100
}
