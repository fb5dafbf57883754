# Wrong arguments are refused. Needs no account, and no Python: terraform init && terraform test
mock_provider "aws" {}

variables {
  name      = "app"
  zone_ids  = ["use1-az1", "use1-az2"]
  paths     = [["function", "proxy", "database"], ["bootstrap", "database"]]
  endpoints = { secretsmanager = ["bootstrap"] }
}

run "one_zone" {
  command = plan

  variables {
    zone_ids = ["use1-az1"]
  }

  expect_failures = [var.zone_ids]
}

run "zone_twice" {
  command = plan

  variables {
    zone_ids = ["use1-az1", "use1-az1"]
  }

  expect_failures = [var.zone_ids]
}

run "zone_name" {
  command = plan

  variables {
    zone_ids = ["us-east-1a", "us-east-1b"]
  }

  expect_failures = [var.zone_ids]
}

run "zone_without_proxy" {
  command = plan

  variables {
    zone_ids = ["use1-az1", "use1-az3"]
  }

  expect_failures = [var.zone_ids]
}

run "no_range" {
  command = plan

  variables {
    cidr = "10.0.0.0"
  }

  expect_failures = [var.cidr]
}

run "large_range" {
  command = plan

  variables {
    cidr = "10.0.0.0/15"
  }

  expect_failures = [var.cidr]
}

run "small_range" {
  command = plan

  variables {
    cidr = "10.0.0.0/25"
  }

  expect_failures = [aws_vpc.main]
}

run "nat" {
  command = plan

  variables {
    egress = { tiers = ["function"], nat = "two" }
  }

  expect_failures = [var.egress]
}

run "egress_of_nobody" {
  command = plan

  variables {
    egress = { tiers = [] }
  }

  expect_failures = [var.egress]
}

run "egress_of_the_database" {
  command = plan

  variables {
    egress = { tiers = ["database"] }
  }

  expect_failures = [var.egress]
}

run "lonely_hop" {
  command = plan

  variables {
    paths     = [["database"]]
    endpoints = {}
  }

  expect_failures = [var.paths]
}

run "unknown_user" {
  command = plan

  variables {
    endpoints = { secretsmanager = ["nobody"] }
  }

  expect_failures = [var.endpoints]
}

run "unknown_zone" {
  command = plan

  variables {
    endpoint_zone_ids = ["use1-az6"]
  }

  expect_failures = [var.endpoint_zone_ids]
}
