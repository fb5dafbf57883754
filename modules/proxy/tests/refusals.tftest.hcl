# Wrong arguments are refused. Needs no account, and no Python: terraform init && terraform test
mock_provider "aws" {}

variables {
  name = "app"
  network = {
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
    identifier     = "app"
    instance_class = "db.m7g.large"
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
  }
  application = {
    user       = "app"
    secret_arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-application-AbCdEf"
    key_arn    = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000002"
  }
}

run "name" {
  command = plan

  variables {
    name = "app--prod"
  }

  expect_failures = [var.name]
}

run "idle_above_total" {
  command = plan

  variables {
    pool = { max_percent = 20, max_idle_percent = 40 }
  }

  expect_failures = [var.pool]
}

run "too_much" {
  command = plan

  variables {
    pool = { max_percent = 101 }
  }

  expect_failures = [var.pool]
}

run "no_waiting" {
  command = plan

  variables {
    pool = { borrow_timeout_seconds = 0 }
  }

  expect_failures = [var.pool]
}

run "negative_idle" {
  command = plan

  variables {
    pool = { max_idle_percent = -1 }
  }

  expect_failures = [var.pool]
}

run "secret_in_init_query" {
  command = plan

  variables {
    pool = { init_query = "SET app.Api_Key = 'x'" }
  }

  expect_failures = [var.pool]
}

run "password_in_init_query" {
  command = plan

  variables {
    pool = { init_query = "ALTER ROLE app PASSWORD 'x'" }
  }

  expect_failures = [var.pool]
}

run "url_in_init_query" {
  command = plan

  variables {
    pool = { init_query = "SELECT connect('postgres://a:b@c')" }
  }

  expect_failures = [var.pool]
}

run "readers" {
  command = plan

  variables {
    endpoints = { reader = { target_role = "READ_ONLY" } }
  }

  expect_failures = [var.endpoints]
}

run "endpoint_name" {
  command = plan

  variables {
    endpoints = { a_b = {} }
  }

  expect_failures = [var.endpoints]
}

run "half_an_endpoint" {
  command = plan

  variables {
    endpoints = { far = { subnet_ids = ["subnet-1"] } }
  }

  expect_failures = [var.endpoints]
}

run "auth" {
  command = plan

  variables {
    auth = "password"
  }

  expect_failures = [var.auth]
}

run "passwords_beside_iam" {
  command = plan

  variables {
    auth = "secret"
  }

  expect_failures = [var.auth]
}

run "no_room" {
  command = plan

  variables {
    network = {
      subnet_ids = ["subnet-0a", "subnet-0b"]
      security_group_ids = {
        function  = "sg-function"
        proxy     = "sg-proxy"
        database  = "sg-database"
        bootstrap = "sg-bootstrap"
      }
      log_key_arn    = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000001"
      location       = { partition = "aws", region = "us-east-1", account = "111122223333" }
      free_addresses = 12
    }
    endpoints = { more = {} }
  }

  expect_failures = [aws_db_proxy.main]
}

run "no_room_for_a_large_one" {
  command = plan

  variables {
    network = {
      subnet_ids = ["subnet-0a", "subnet-0b"]
      security_group_ids = {
        function  = "sg-function"
        proxy     = "sg-proxy"
        database  = "sg-database"
        bootstrap = "sg-bootstrap"
      }
      log_key_arn    = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000001"
      location       = { partition = "aws", region = "us-east-1", account = "111122223333" }
      free_addresses = 21
    }
    database = {
      identifier     = "app"
      instance_class = "db.r7g.4xlarge"
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
    }
  }

  expect_failures = [aws_db_proxy.main]
}

run "idle_clients" {
  command = plan

  variables {
    idle_client_timeout_seconds = 30
  }

  expect_failures = [var.idle_client_timeout_seconds]
}
