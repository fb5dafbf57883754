# Development: the function connects directly to the instance.

locals {
  name = "app-dev"

  # Made by `make package` before the plan.
  packages = {
    function  = "${path.root}/../../build/output/function.zip"
    bootstrap = "${path.root}/../../build/output/bootstrap.zip"
    layer     = "${path.root}/../../build/output/layer-x86_64.zip"
  }
}

module "network" {
  source = "../../modules/network"

  name     = local.name
  zone_ids = ["use1-az1", "use1-az2"]
  paths    = [["function", "database"], ["bootstrap", "database"]]

  endpoints         = { secretsmanager = ["bootstrap"] }
  endpoint_zone_ids = ["use1-az1"]
}

module "database" {
  source = "../../modules/database"

  name                = local.name
  network             = module.network
  instance_class      = "db.t4g.micro"
  multi_az            = false
  backups             = { retention_days = 1 }
  deletion_protection = false
  final_snapshot      = false
}

module "bootstrap" {
  source = "../../modules/bootstrap"

  name     = local.name
  network  = module.network
  database = module.database
  package  = local.packages.bootstrap
  layer    = local.packages.layer
}

module "function" {
  source = "../../modules/function"

  name                 = local.name
  network              = module.network
  connection           = module.database.connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = local.packages.function
  layer                = local.packages.layer
  reserved_concurrency = 20
}

module "observability" {
  source = "../../modules/observability"

  name      = local.name
  network   = module.network
  functions = [module.function.monitoring]
  database  = module.database.monitoring
  bootstrap = module.bootstrap.monitoring
}
