resource "aws_db_proxy" "main" {
  name                   = var.name
  engine_family          = "POSTGRESQL"
  role_arn               = aws_iam_role.main.arn
  vpc_subnet_ids         = var.network.subnet_ids
  vpc_security_group_ids = [var.network.security_group_ids[var.tier]]
  idle_client_timeout    = var.idle_client_timeout_seconds
  require_tls            = true
  debug_logging          = var.debug_logging

  # Each explicit: left out, the provider finds a difference in every plan.
  dynamic "auth" {
    for_each = var.applications

    content {
      auth_scheme               = "SECRETS"
      iam_auth                  = local.iam_auth
      client_password_auth_type = "POSTGRES_SCRAM_SHA_256" # checkov:skip=CKV_SECRET_6:The name of a method, not a secret.
      secret_arn                = auth.value.secret_arn
    }
  }

  depends_on = [aws_iam_role_policy.main, aws_iam_role_policy_attachment.further, aws_cloudwatch_log_group.main]

  lifecycle {
    replace_triggered_by = [terraform_data.name]

    precondition {
      condition     = coalesce(var.network.free_addresses, local.wanted_addresses) >= local.wanted_addresses
      error_message = "The proxy of ${coalesce(var.database.instance_class, "an unknown class")} wants ${local.wanted_addresses - 3 * local.near_endpoints} free addresses in each subnet, and 3 for each of ${local.near_endpoints} further endpoints: ${local.wanted_addresses}, but the network leaves ${coalesce(var.network.free_addresses, 0)}. Choose a larger cidr."
    }
  }
}

# Renamed in place, the proxy would answer at another host name before its functions know it.
resource "terraform_data" "name" {
  input            = var.network.subnet_ids
  triggers_replace = var.name

  lifecycle {
    ignore_changes = [input]

    # Two conditions, since the id of a subnet that is yet to be made is unknown, but not how many there are.
    postcondition {
      condition     = length(self.input) == length(var.network.subnet_ids)
      error_message = local.subnets_changed
    }

    postcondition {
      condition     = length(self.input) == length(var.network.subnet_ids) ? toset(self.input) == toset(var.network.subnet_ids) : true
      error_message = local.subnets_changed
    }
  }
}

locals {
  iam_auth = var.auth == "iam" ? "REQUIRED" : "DISABLED"

  subnets_changed = "The proxy ${var.name} cannot move to other subnets, and RDS makes no second proxy of one name. Give it another name: the new proxy is made before the old one is deleted."
}

# A new instance or cluster is no target of the proxy, even under the old identifier.
resource "terraform_data" "instance" {
  triggers_replace = var.database.resource_id
}

# AWS deletes these with the proxy. If its name is unchanged the provider does not notice, so replace them explicitly.
resource "aws_db_proxy_default_target_group" "main" {
  db_proxy_name = aws_db_proxy.main.name

  connection_pool_config {
    max_connections_percent      = var.pool.max_percent
    max_idle_connections_percent = var.pool.max_idle_percent
    connection_borrow_timeout    = var.pool.borrow_timeout_seconds
    init_query                   = var.pool.init_query
  }

  lifecycle {
    replace_triggered_by = [aws_db_proxy.main.arn]
  }
}

resource "aws_db_proxy_target" "main" {
  db_proxy_name          = aws_db_proxy.main.name
  target_group_name      = aws_db_proxy_default_target_group.main.name
  db_instance_identifier = var.database.cluster == null ? var.database.identifier : null
  db_cluster_identifier  = var.database.cluster == null ? null : var.database.identifier

  lifecycle {
    replace_triggered_by = [aws_db_proxy.main.arn, terraform_data.instance]
  }
}

resource "aws_db_proxy_endpoint" "further" {
  for_each = var.endpoints

  db_proxy_name          = aws_db_proxy.main.name
  db_proxy_endpoint_name = "${var.name}-${each.key}"
  target_role            = each.value.target_role
  vpc_subnet_ids         = coalesce(each.value.subnet_ids, var.network.subnet_ids)
  vpc_security_group_ids = coalesce(each.value.security_group_ids, [var.network.security_group_ids[var.tier]])

  lifecycle {
    replace_triggered_by = [aws_db_proxy.main.arn]
  }
}

# Made before the proxy, which would else make it itself: unencrypted, and kept for ever.
resource "aws_cloudwatch_log_group" "main" {
  name              = "/aws/rds/proxy/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.network.log_key_arn
}
