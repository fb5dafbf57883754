# What RDS changes later. A module that reads no API remembers it: an ignored input keeps the value of the last time the
# resource was made, and what triggers its replacement is a change that RDS makes at once.
locals {
  now = var.changes.apply == "now"
}

# What the server was last started with. `make reboot` replaces this one.
resource "terraform_data" "started_with" {
  input = { max_connections = local.max_connections }

  lifecycle {
    ignore_changes       = [input]
    replace_triggered_by = [terraform_data.restarts]
  }
}

# Settings that others depend on.
resource "terraform_data" "settled" {
  input = {
    instance_class     = var.instance_class
    iam_authentication = var.iam_authentication
    postgres_version   = var.postgres_version
  }

  lifecycle {
    ignore_changes       = [input]
    replace_triggered_by = [terraform_data.settings]
  }
}

# A change of the instance `now` triggers; its coming and going, when changes.apply changes, do not. `always` is there
# because Terraform wants one instance.
resource "terraform_data" "restarts" {
  for_each = merge({ always = null }, local.now ? { now = [var.instance_class, var.postgres_version] } : {})
  input    = each.value
}

resource "terraform_data" "settings" {
  for_each = merge({ always = null }, local.now ? { now = [var.instance_class, var.iam_authentication, var.postgres_version] } : {})
  input    = each.value
}

check "restart" {
  assert {
    condition     = terraform_data.started_with.input.max_connections == local.max_connections
    error_message = "max_connections is to be ${local.max_connections}, but the server runs with ${terraform_data.started_with.input.max_connections} until it restarts, and nothing restarts it. After the apply, run make reboot. Until then the smaller number counts."
  }
}

check "window" {
  assert {
    condition     = local.now
    error_message = "changes.apply is in_window: a change of the class, the storage or multi_az waits for the window ${var.changes.window} (UTC), and until then every plan repeats it. A max_connections that follows the class counts after make reboot only."
  }
}
