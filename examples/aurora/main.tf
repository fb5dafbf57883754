# Production on Aurora: the function writes through the proxy to the writer, and reads through it from a reader.

locals {
  name = "app-aurora"

  # Made by `make package ENV=aurora` before the plan.
  packages = {
    function  = "${path.root}/../../build/output/function-examples-aurora.zip"
    bootstrap = "${path.root}/../../build/output/bootstrap-aurora.zip"
    layer     = "${path.root}/../../build/output/layer-x86_64.zip"
  }
}

module "network" {
  source = "../../modules/network"

  name     = local.name
  zone_ids = ["use1-az1", "use1-az2", "use1-az4"]
  paths    = [["function", "proxy", "database"], ["bootstrap", "database"]]

  endpoints         = { secretsmanager = ["bootstrap"] }
  endpoint_zone_ids = ["use1-az1"] # Without this zone passwords are not rotated and migrations fail; functions go on.
}

module "cluster" {
  source = "../../modules/cluster"

  name                  = local.name
  network               = module.network
  instance_class        = "db.r7g.large"
  readers               = { count = 1 }
  backups               = { retention_days = 14 }
  deletion_protection   = var.deletion_protection # false first, to destroy
  final_snapshot        = true
  restore_from_snapshot = var.restore_from_snapshot
}

module "bootstrap" {
  source = "../../modules/bootstrap"

  name     = local.name
  network  = module.network
  database = module.cluster
  package  = local.packages.bootstrap
  layer    = local.packages.layer
}

module "proxy" {
  source = "../../modules/proxy"

  name         = local.name
  network      = module.network
  database     = module.cluster
  applications = [module.bootstrap.application]
  endpoints    = { reader = { target_role = "READ_ONLY" } }
}

module "function" {
  source = "../../modules/function"

  name                 = local.name
  network              = module.network
  connection           = module.proxy.connection
  reader_connection    = module.proxy.reader_connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = local.packages.function
  handler              = "app.main"
  layer                = local.packages.layer
  reserved_concurrency = 400
  runtime              = { timeout_seconds = 60 }

  environment = {
    DB_DIAGNOSE      = "1"  # make doctor may ask the function what it sees
    DB_RETRY_SECONDS = "40" # a failover usually takes less than 35 s: an invocation that meets one waits, and does its work
  }
}

module "observability" {
  source = "../../modules/observability"

  name      = local.name
  network   = module.network
  functions = [module.function.monitoring]
  proxy     = module.proxy.monitoring
  database  = module.cluster.monitoring
  bootstrap = module.bootstrap.monitoring
}
