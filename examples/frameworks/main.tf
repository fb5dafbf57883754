# The sample function in five ways, behind one proxy: each folder here is the code of one. The second layer lets frameworks use
# the first one's connection.

locals {
  name = "app-frameworks"

  # By folder: the layers that its function has besides the module's own.
  functions = {
    django        = [aws_lambda_layer_version.frameworks.arn]
    powertools    = []
    psycopg       = [aws_lambda_layer_version.frameworks.arn]
    psycopg_async = [aws_lambda_layer_version.frameworks.arn]
    sqlalchemy    = [aws_lambda_layer_version.frameworks.arn]
  }

  # Made by `make package examples` before the plan.
  packages = {
    bootstrap  = "${path.root}/../../build/output/bootstrap.zip"
    frameworks = "${path.root}/../../build/output/frameworks.zip"
    layer      = "${path.root}/../../build/output/layer-x86_64.zip"
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

resource "aws_lambda_layer_version" "frameworks" {
  layer_name          = local.name
  filename            = local.packages.frameworks
  source_code_hash    = filebase64sha256(local.packages.frameworks)
  compatible_runtimes = ["python3.13"]
}

module "function" {
  source   = "../../modules/function"
  for_each = local.functions

  name                 = "${local.name}-${each.key}"
  network              = module.network
  connection           = module.proxy.connection
  application          = module.bootstrap.application
  migration            = module.bootstrap.migration
  package              = "${path.root}/../../build/output/function-examples-frameworks-${each.key}.zip"
  layer                = local.packages.layer
  reserved_concurrency = 50
  runtime              = { extra_layers = each.value, memory_mb = 512 }
  environment          = { POWERTOOLS_SERVICE_NAME = local.name, POWERTOOLS_METRICS_NAMESPACE = local.name }
}
