# An instance that Terraform did not make: instance.tf reads and checks it, security_groups.tf leads to it, and the objects
# local.network and local.database stand where modules would.

locals {
  name = "app-beside"

  # Made by `make package` before the plan.
  packages = {
    function  = "${path.root}/../../build/output/function.zip"
    bootstrap = "${path.root}/../../build/output/bootstrap.zip"
    layer     = "${path.root}/../../build/output/layer-x86_64.zip"
  }
}

module "bootstrap" {
  source = "../../modules/bootstrap"

  name        = local.name
  network     = local.network
  database    = local.database
  application = var.application
  package     = local.packages.bootstrap
  layer       = local.packages.layer

  # It is invoked by the apply that makes it, and at the end needs its way until it is gone.
  depends_on = [
    aws_vpc_security_group_egress_rule.pair,
    aws_vpc_security_group_ingress_rule.pair,
    aws_vpc_security_group_egress_rule.secrets,
    aws_vpc_security_group_ingress_rule.secrets,
  ]
}

module "proxy" {
  source = "../../modules/proxy"

  name         = local.name
  network      = local.network
  database     = local.database
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
  reserved_concurrency = 50
  environment          = { DB_DIAGNOSE = "1" } # make doctor may ask the function what it sees
}
