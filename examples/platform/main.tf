# What the platform team owns: the network, the database and the proxy. The roots ../orders, ../users and ../users-api
# belong to service teams and read this one's outputs. README.md says in which order they are applied.

locals {
  name = "shop"

  # What each service's function may reserve: together no more than the proxy's pool takes. A plan refuses what is above.
  shares = {
    shop-orders       = 300
    shop-users        = 150
    shop-users-api    = 30
    shop-users-worker = 10
  }

  # Made by `make package MIGRATIONS=examples/platform/migrations` before the plan.
  packages = {
    bootstrap = "${path.root}/../../build/output/bootstrap-platform.zip"
    layer     = "${path.root}/../../build/output/layer-x86_64.zip"
  }
}

module "network" {
  source = "../../modules/network"

  name      = local.name # the functions' names begin with it, or its key would not encrypt their logs
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

# A proxy needs one secret before there is any service. With this user the platform team probes the proxy.
module "bootstrap" {
  source = "../../modules/bootstrap"

  name        = local.name
  network     = module.network
  database    = module.database
  application = { user = "platform", schema = "platform", connection_limit = 5 }
  package     = local.packages.bootstrap
  layer       = local.packages.layer
}

module "proxy" {
  source = "../../modules/proxy"

  name         = local.name
  network      = module.network
  database     = module.database
  applications = concat([module.bootstrap.application], values(var.services))
  shares       = local.shares
}
