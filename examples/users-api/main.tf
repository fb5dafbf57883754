# What the team of the users API owns: its schema, its database user, the function behind the HTTP API and the one behind the
# queue. The network, the database and the proxy are the platform team's: ../platform.

locals {
  name     = "shop-users-api"
  worker   = "shop-users-worker"
  platform = data.terraform_remote_state.platform.outputs

  # Made by make before the plan: README.md says how.
  packages = {
    function  = "${path.root}/../../build/output/function-examples-users-api.zip"
    bootstrap = "${path.root}/../../build/output/bootstrap-users-api.zip"
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
  application = { user = "users_api", schema = "users_api", statement_timeout_ms = 5000 }
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
  handler              = "app.main"
  layer                = local.packages.layer
  reserved_concurrency = 30 # at most this function's share, which the platform's root gives it
}

module "http" {
  source = "../../modules/http"

  name          = local.name
  network       = local.platform.network
  function      = module.function.alias
  authorization = "iam"
}

# A function of its own, with a share of its own: a full queue takes no connection from the HTTP API.
module "worker" {
  source = "../../modules/function"

  name                 = local.worker
  network              = local.platform.network
  connection           = local.platform.connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = local.packages.function
  handler              = "worker.main"
  layer                = local.packages.layer
  reserved_concurrency = 10
}

module "queue" {
  source = "../../modules/queue"

  name                = "shop-new-users"
  function            = module.worker.alias
  maximum_concurrency = 10 # all of the worker's reserved_concurrency, since it serves this queue alone
}

module "observability" {
  source = "../../modules/observability"

  name      = local.name
  network   = local.platform.network
  functions = [module.function.monitoring, module.worker.monitoring]
  apis      = [module.http.monitoring]
  queues    = [module.queue.monitoring]
  proxy     = local.platform.monitoring.proxy
  database  = local.platform.monitoring.database
  bootstrap = module.bootstrap.monitoring
}
