# Two functions share one proxy, and with it one pool: both stand in the group function, and log in as the same user.

locals {
  name = "app-shared"

  # Made by `make package` before the plan.
  packages = {
    function  = "${path.root}/../../build/output/function.zip"
    bootstrap = "${path.root}/../../build/output/bootstrap.zip"
    layer     = "${path.root}/../../build/output/layer-x86_64.zip"
  }
}

module "network" {
  source = "../../modules/network"

  name      = local.name
  zone_ids  = ["use1-az1", "use1-az2"]
  paths     = [["function", "proxy", "database"], ["bootstrap", "database"]]
  endpoints = { secretsmanager = ["bootstrap"] }
}

module "database" {
  source = "../../modules/database"

  name           = local.name
  network        = module.network
  instance_class = "db.m7g.large"
}

module "bootstrap" {
  source = "../../modules/bootstrap"

  name     = local.name
  network  = module.network
  database = module.database
  package  = local.packages.bootstrap
  layer    = local.packages.layer
}

module "proxy" {
  source = "../../modules/proxy"

  name         = local.name
  network      = module.network
  database     = module.database
  applications = [module.bootstrap.application]
}

module "orders" {
  source = "../../modules/function"

  name                 = "${local.name}-orders"
  network              = module.network
  connection           = module.proxy.connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = local.packages.function
  layer                = local.packages.layer
  reserved_concurrency = 300
}

module "reports" {
  source = "../../modules/function"

  name                 = "${local.name}-reports"
  network              = module.network
  connection           = module.proxy.connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = local.packages.function
  layer                = local.packages.layer
  reserved_concurrency = 20
  runtime              = { memory_mb = 512, timeout_seconds = 60 }
}
