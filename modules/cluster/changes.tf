# What RDS changes later. A module that reads no API remembers it: an ignored input keeps the value of the last time the
# resource was made, and what triggers its replacement is a change that RDS makes at once.
locals {
  now = var.changes.apply == "now"
}

# What the servers were last started with.
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

# A change of the cluster `now` triggers; its coming and going, when changes.apply changes, do not. `always` is there
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
    error_message = "max_connections is to be ${local.max_connections}, but the servers run with ${terraform_data.started_with.input.max_connections} until they restart, and nothing restarts them. After the apply, reboot the readers, then the writer: see the README. Until then the smaller number counts."
  }
}

check "window" {
  assert {
    condition     = local.now
    error_message = "changes.apply is in_window: a change of the class waits for the window ${var.changes.window} (UTC), and until then every plan repeats it."
  }
}

check "restored_without_tokens" {
  assert {
    condition     = var.restore_from_snapshot == null || !var.iam_authentication
    error_message = "A cluster that is restored from a snapshot has no IAM authentication after the first apply (hashicorp/terraform-provider-aws#35189). Apply again before functions log in with tokens, and then remove restore_from_snapshot."
  }
}
