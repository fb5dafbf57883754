# Development on Aurora Serverless v2: the function connects directly, and without a connection the cluster pauses.

locals {
  name = "app-aurora-dev"

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

module "cluster" {
  source = "../../modules/cluster"

  name                = local.name
  network             = module.network
  instance_class      = "db.serverless"
  capacity            = { min_acu = 0, max_acu = 2, pause_after_seconds = 600 }
  readers             = { count = 0 }
  backups             = { retention_days = 1 }
  deletion_protection = false
  final_snapshot      = false
}

module "bootstrap" {
  source = "../../modules/bootstrap"

  name     = local.name
  network  = module.network
  database = module.cluster
  package  = local.packages.bootstrap
  layer    = local.packages.layer
}

module "function" {
  source = "../../modules/function"

  name                 = local.name
  network              = module.network
  connection           = module.cluster.connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = local.packages.function
  layer                = local.packages.layer
  reserved_concurrency = 20
  runtime              = { timeout_seconds = 60 }

  environment = {
    DB_DIAGNOSE       = "1"  # make doctor may ask the function what it sees
    PGCONNECT_TIMEOUT = "40" # the first connection after a pause waits until the cluster has resumed
  }
}

module "observability" {
  source = "../../modules/observability"

  name      = local.name
  network   = module.network
  functions = [module.function.monitoring]
  database  = module.cluster.monitoring
  bootstrap = module.bootstrap.monitoring
}
