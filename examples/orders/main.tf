# What the team of the service orders owns: its schema, its database user and its function. The network, the database and the
# proxy are the platform team's: ../platform, whose README says in which order the roots are applied.

locals {
  name     = "shop-orders"
  platform = data.terraform_remote_state.platform.outputs

  # Made by `make package MIGRATIONS=examples/orders/migrations` before the plan.
  packages = {
    function  = "${path.root}/../../build/output/function.zip"
    bootstrap = "${path.root}/../../build/output/bootstrap-orders.zip"
    layer     = "${path.root}/../../build/output/layer-x86_64.zip"
  }
}

# A team keeps states in S3 instead: backend = "s3", with bucket, key and region.
data "terraform_remote_state" "platform" {
  backend = "local"
  config  = { path = "${path.root}/../platform/terraform.tfstate" }
}

module "bootstrap" {
  source = "../../modules/bootstrap"

  name        = local.name
  network     = local.platform.network
  database    = local.platform.database
  application = { user = "orders", schema = "orders", statement_timeout_ms = 5000 }
  package     = local.packages.bootstrap
  layer       = local.packages.layer
}

module "function" {
  source = "../../modules/function"

  name                 = local.name
  network              = local.platform.network
  connection           = local.platform.connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = local.packages.function
  layer                = local.packages.layer
  reserved_concurrency = 300 # at most this function's share, which the platform's root gives it
}

module "observability" {
  source = "../../modules/observability"

  name      = local.name
  network   = local.platform.network
  functions = [module.function.monitoring]
  proxy     = local.platform.monitoring.proxy
  database  = local.platform.monitoring.database
  bootstrap = module.bootstrap.monitoring
}
