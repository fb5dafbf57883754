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
    direct                 = true
  }
  application = {
    user       = "app"
    secret_arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-application-AbCdEf"
    key_arn    = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000002"
  }
  migration            = "migrated"
  reserved_concurrency = 20

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

run "auth" {
  command = plan

  variables {
    auth = "password"
  }

  expect_failures = [var.auth]
}

run "architecture" {
  command = plan

  variables {
    runtime = { architecture = "riscv64" }
  }

  expect_failures = [var.runtime]
}

run "name" {
  command = plan

  variables {
    name = "app function"
  }

  expect_failures = [var.name]
}

run "any_user" {
  command = plan

  variables {
    application = {
      user       = "*"
      secret_arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-application-AbCdEf"
      key_arn    = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000002"
    }
  }

  expect_failures = [var.application]
}

run "long_user" {
  command = plan

  variables {
    application = {
      user       = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
      secret_arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-application-AbCdEf"
      key_arn    = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000002"
    }
  }

  expect_failures = [var.application]
}

run "memory" {
  command = plan

  variables {
    runtime = { memory_mb = 64 }
  }

  expect_failures = [var.runtime]
}

run "long_timeout" {
  command = plan

  variables {
    runtime = { timeout_seconds = 901 }
  }

  expect_failures = [var.runtime]
}

run "six_layers" {
  command = plan

  variables {
    runtime = { extra_layers = ["arn", "arn", "arn", "arn", "arn"] }
  }

  expect_failures = [var.runtime]
}

run "two_ways_to_start" {
  command = plan

  variables {
    runtime = { snap_start = true, provisioned_concurrency = 1 }
  }

  expect_failures = [var.runtime]
}

run "more_provisioned_than_reserved" {
  command = plan

  variables {
    runtime = { provisioned_concurrency = 21 }
  }

  expect_failures = [var.runtime]
}

run "short_timeout" {
  command = plan

  variables {
    connection = {
      host                   = "app.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"
      port                   = 5432
      database               = "app"
      rds_db_arn_prefix      = "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-ABCDEFGHIJKL"
      ca_file                = "amazon-trust-services.pem"
      max_clients            = null
      pool_size              = 643
      borrow_timeout_seconds = 5
      auth                   = "iam"
      direct                 = false
    }
    runtime = { timeout_seconds = 10 }
  }

  expect_failures = [aws_lambda_function.main]
}

run "long_connecting" {
  command = plan

  variables {
    environment = { PGCONNECT_TIMEOUT = "20" }
  }

  expect_failures = [aws_lambda_function.main]
}

run "connect_timeout" {
  command = plan

  variables {
    environment = { PGCONNECT_TIMEOUT = "soon" }
  }

  expect_failures = [var.environment]
}

run "host_of_ones_own" {
  command = plan

  variables {
    environment = { PGHOST = "elsewhere" }
  }

  expect_failures = [var.environment]
}

run "secret_at_a_proxy_with_iam" {
  command = plan

  variables {
    connection = {
      host                   = "app.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"
      port                   = 5432
      database               = "app"
      rds_db_arn_prefix      = "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-ABCDEFGHIJKL"
      ca_file                = "amazon-trust-services.pem"
      max_clients            = null
      pool_size              = 643
      borrow_timeout_seconds = 5
      auth                   = "iam"
      direct                 = false
    }
    auth = "secret"
  }

  expect_failures = [var.auth]
}

run "token_at_a_proxy_with_passwords" {
  command = plan

  variables {
    connection = {
      host                   = "app.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"
      port                   = 5432
      database               = "app"
      rds_db_arn_prefix      = "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-ABCDEFGHIJKL"
      ca_file                = "amazon-trust-services.pem"
      max_clients            = null
      pool_size              = 643
      borrow_timeout_seconds = 5
      auth                   = "secret"
      direct                 = false
    }
  }

  expect_failures = [var.auth]
}

run "concurrency" {
  command = plan

  variables {
    reserved_concurrency = 0
  }

  expect_failures = [var.reserved_concurrency]
}

run "budget" {
  command = plan

  variables {
    reserved_concurrency = 85
  }

  expect_failures = [aws_lambda_function.main]
}

run "any_iam_user" {
  command = plan

  variables {
    application = {
      user       = "app"
      iam_user   = "*"
      secret_arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-application-AbCdEf"
      key_arn    = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000002"
    }
  }

  expect_failures = [var.application]
}
