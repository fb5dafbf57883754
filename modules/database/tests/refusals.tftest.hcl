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
  instance_class = "db.t4g.micro"
}

run "name" {
  command = plan

  variables {
    name = "app--prod"
  }

  expect_failures = [var.name]
}

run "old_postgres" {
  command = plan

  variables {
    postgres_version = 13
  }

  expect_failures = [var.postgres_version]
}

run "ageing_postgres" {
  command = plan

  variables {
    postgres_version = 15
  }

  expect_failures = [var.postgres_version]
}

run "unknown_class" {
  command = plan

  variables {
    instance_class = "db.x2g.large"
  }

  expect_failures = [var.max_connections]
}

run "few_connections" {
  command = plan

  variables {
    max_connections = 5
  }

  expect_failures = [var.max_connections]
}

run "no_room_to_grow" {
  command = plan

  variables {
    storage = { allocated_gib = 100, max_gib = 110 }
  }

  expect_failures = [var.storage]
}

run "small_disk" {
  command = plan

  variables {
    storage = { allocated_gib = 10 }
  }

  expect_failures = [var.storage]
}

run "iops_of_a_small_disk" {
  command = plan

  variables {
    storage = { allocated_gib = 399, max_gib = 600, iops = 16000 }
  }

  expect_failures = [var.storage]
}

run "throughput_of_a_small_disk" {
  command = plan

  variables {
    storage = { throughput_mib = 600 }
  }

  expect_failures = [var.storage]
}

run "few_iops" {
  command = plan

  variables {
    storage = { allocated_gib = 400, max_gib = 600, iops = 3000 }
  }

  expect_failures = [var.storage]
}

run "low_throughput" {
  command = plan

  variables {
    storage = { allocated_gib = 400, max_gib = 600, throughput_mib = 125 }
  }

  expect_failures = [var.storage]
}

run "no_backups" {
  command = plan

  variables {
    backups = { retention_days = 0 }
  }

  expect_failures = [var.backups]
}
