# Wrong arguments are refused. Needs no account, and no Python: terraform init && terraform test
mock_provider "aws" {}

variables {
  name = "app"
  network = {
    vpc_id     = "vpc-0a"
    subnet_ids = ["subnet-0a", "subnet-0b"]
    security_group_ids = {
      function  = "sg-function"
      proxy     = "sg-proxy"
      database  = "sg-database"
      bootstrap = "sg-bootstrap"
    }
    log_key_arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000001"
    location    = { partition = "aws", region = "us-east-1", account = "111122223333" }
  }
  database = {
    connection = {
      host                   = "app.abcdefghijkl.us-east-1.rds.amazonaws.com"
      port                   = 5432
      database               = "app"
      rds_db_arn_prefix      = "arn:aws:rds-db:us-east-1:111122223333:dbuser:db-ABCDEFGHIJKL"
      ca_file                = "rds-us-east-1.pem"
      max_clients            = 85
      pool_size              = null
      borrow_timeout_seconds = 0
      auth                   = null
    }
    master_secret_arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:rds!db-AbCdEf"
    key_arn           = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000002"
  }
  # Any file will do.
  package = "main.tf"
  layer   = "main.tf"
}

run "no_package" {
  command = plan

  variables {
    package = "missing.zip"
  }

  expect_failures = [var.package]
}

run "no_layer" {
  command = plan

  variables {
    layer = "missing.zip"
  }

  expect_failures = [var.layer]
}

run "reserved_user" {
  command = plan

  variables {
    application = { user = "rdsproxyadmin" }
  }

  expect_failures = [var.application]
}

run "upper_case_user" {
  command = plan

  variables {
    application = { user = "App" }
  }

  expect_failures = [var.application]
}

run "long_user" {
  command = plan

  variables {
    application = { user = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }
  }

  expect_failures = [var.application]
}

run "schema_of_the_ledger" {
  command = plan

  variables {
    application = { schema = "bootstrap" }
  }

  expect_failures = [var.application]
}

run "schema_of_postgresql" {
  command = plan

  variables {
    application = { schema = "pg_app" }
  }

  expect_failures = [var.application]
}

run "access" {
  command = plan

  variables {
    further_users = { ada = { access = "write" } }
  }

  expect_failures = [var.further_users]
}

run "further_auth" {
  command = plan

  variables {
    further_users = { ada = { access = "read", auth = "secret" } }
  }

  expect_failures = [var.further_users]
}

run "further_is_application" {
  command = plan

  variables {
    further_users = { app = { access = "read" } }
  }

  expect_failures = [var.further_users]
}

run "further_is_owner" {
  command = plan

  variables {
    further_users = { app_owner = { access = "read" } }
  }

  expect_failures = [var.further_users]
}

run "further_is_stand_in" {
  command = plan

  variables {
    further_users = { app_next = { access = "read" } }
  }

  expect_failures = [var.further_users]
}

run "rotation" {
  command = plan

  variables {
    rotation_days = 91
  }

  expect_failures = [var.rotation_days]
}

run "further_is_the_application_by_iam" {
  command = plan

  variables {
    further_users = {
      app_iam = { access = "read" }
    }
  }

  expect_failures = [var.further_users]
}
