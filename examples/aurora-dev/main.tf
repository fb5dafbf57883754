# Development on Aurora Serverless v2: the function connects directly, and without a connection the cluster pauses.

locals {
  name = "app-aurora-dev"

  # Made by `make package ENV=aurora-dev` before the plan; the code is that of ../aurora.
  packages = {
    function  = "${path.root}/../../build/output/function-examples-aurora.zip"
    bootstrap = "${path.root}/../../build/output/bootstrap-aurora.zip"
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
  handler              = "app.main"
  layer                = local.packages.layer
  reserved_concurrency = 20
  runtime              = { timeout_seconds = 75 }

  environment = {
    DB_DIAGNOSE       = "1"  # make doctor may ask the function what it sees
    PGCONNECT_TIMEOUT = "40" # the first connection after a pause waits until the cluster has resumed
    DB_RETRY_SECONDS  = "60" # and tries again while it is refused
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
