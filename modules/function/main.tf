locals {
  partition = var.network.location.partition
  region    = var.network.location.region
  account   = var.network.location.account

  user = var.auth == "iam" && var.connection.direct ? coalesce(var.application.iam_user, var.application.user) : var.application.user

  # libpq's own names; the layer's library reads the rest.
  environment = merge(
    {
      PGHOST        = var.connection.host
      PGPORT        = tostring(var.connection.port)
      PGDATABASE    = var.connection.database
      PGUSER        = local.user
      PGSSLROOTCERT = "/opt/certificates/${var.connection.ca_file}"
      DB_AUTH       = var.auth
    },
    { for reader in var.reader_connection == null ? [] : [var.reader_connection] : "PGHOST_READER" => reader.host },
    var.auth == "secret" ? { DB_SECRET_ARN = var.application.secret_arn } : {},
    var.environment,
  )
}

resource "aws_lambda_function" "main" {
  # checkov:skip=CKV_LRP_8:It goes through the group of the network; its own, which leads nowhere, holds its interfaces.
  # checkov:skip=CKV_AWS_50:X-Ray is runtime.tracing, off where isolated subnets could not reach it.
  # checkov:skip=CKV_AWS_173:Its environment holds names and ARNs, no secret; Lambda encrypts it with its own key.
  # checkov:skip=CKV_AWS_272:The zips are built from this repository by whoever applies it; there is no third party to sign.
  function_name    = var.name
  role             = aws_iam_role.main.arn
  runtime          = var.runtime.name
  architectures    = [var.runtime.architecture]
  handler          = var.handler
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  layers           = concat([aws_lambda_layer_version.main.arn], var.runtime.extra_layers)
  memory_size      = var.runtime.memory_mb
  timeout          = var.runtime.timeout_seconds
  publish          = true

  reserved_concurrent_executions = var.reserved_concurrency

  vpc_config {
    subnet_ids         = var.network.subnet_ids
    security_group_ids = [var.network.security_group_ids[var.tier], aws_security_group.interfaces.id]
  }

  environment {
    variables = local.environment
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.dead_letters.arn
  }

  # PassThrough: it only passes on what its caller traces.
  tracing_config {
    mode = var.runtime.tracing ? "Active" : "PassThrough"
  }

  dynamic "snap_start" {
    for_each = var.runtime.snap_start ? ["PublishedVersions"] : []

    content {
      apply_on = snap_start.value
    }
  }

  # var.migration: code goes live after the schema that it expects.
  depends_on = [aws_iam_role_policy.log_in, aws_iam_role_policy.runtime, var.migration]

  lifecycle {
    precondition {
      condition     = try(regex("(arm64|x86_64)\\.zip$", var.layer)[0], var.runtime.architecture) == var.runtime.architecture
      error_message = "layer ${basename(var.layer)} is of another architecture than runtime.architecture ${var.runtime.architecture}: run make package ARCH=${var.runtime.architecture}."
    }

    precondition {
      condition     = length(local.compiled_for.layer) == 0 || contains(local.compiled_for.layer, var.runtime.name)
      error_message = "layer ${basename(var.layer)} is compiled for ${join(", ", local.compiled_for.layer)}, but runtime.name is ${var.runtime.name}: run make package PYTHON_VERSION=${trimprefix(var.runtime.name, "python")} and name the layer that it builds."
    }

    precondition {
      condition     = length(local.compiled_for.package) == 0 || contains(local.compiled_for.package, var.runtime.name)
      error_message = "package ${basename(var.package)} is compiled for ${join(", ", local.compiled_for.package)}, but runtime.name is ${var.runtime.name}: make the package with PYTHON_VERSION=${trimprefix(var.runtime.name, "python")}."
    }

    precondition {
      condition     = var.runtime.timeout_seconds > local.connect_timeout_seconds + var.connection.borrow_timeout_seconds
      error_message = "runtime.timeout_seconds ${var.runtime.timeout_seconds} must be longer than connecting (${local.connect_timeout_seconds} s) and waiting for a connection of the proxy's pool (${var.connection.borrow_timeout_seconds} s) together: ${local.connect_timeout_seconds + var.connection.borrow_timeout_seconds} s. Else Lambda ends the function before it could say what is wrong."
    }

    precondition {
      condition     = local.connect_timeout_seconds >= var.connection.resume_seconds
      error_message = "environment.PGCONNECT_TIMEOUT ${local.connect_timeout_seconds} must be at least ${var.connection.resume_seconds}: a database that has paused answers after about 15 s, after a day 30 s or more. runtime.timeout_seconds must be longer still. Or give the cluster capacity.min_acu 0.5."
    }

    precondition {
      condition     = var.auth != "iam" || coalesce(var.reserved_concurrency, 0) <= min(coalesce(var.connection.iam_logins_per_second, 1000000), try(coalesce(var.reader_connection.iam_logins_per_second, 1000000), 1000000))
      error_message = "reserved_concurrency ${coalesce(var.reserved_concurrency, 0)} lets as many execution environments log in with new tokens within one second, but an instance bears fewer than ${coalesce(var.connection.iam_logins_per_second, 0)}. Choose a lower reserved_concurrency, auth = \"secret\", or the proxy, which keeps its connections."
    }

    precondition {
      condition     = try(var.reader_connection.max_clients, null) == null || var.reserved_concurrency == null ? true : local.deployed_connections + local.headroom <= var.reader_connection.max_clients
      error_message = "reserved_concurrency ${local.concurrency} takes up to ${local.deployed_connections} direct connections to the readers during a deployment; with ${local.headroom} for people that is ${local.deployed_connections + local.headroom}, but the readers take ${try(coalesce(var.reader_connection.max_clients, 0), 0)} clients. Choose a lower reserved_concurrency, more readers, or the proxy."
    }

    precondition {
      condition     = var.connection.max_clients == null || var.reserved_concurrency != null
      error_message = "reserved_concurrency is null, so nothing limits the function's direct connections, of which the instance takes ${coalesce(var.connection.max_clients, 0)}. Set it, or connect through the proxy."
    }

    precondition {
      condition     = var.connection.max_clients == null || var.reserved_concurrency == null ? true : local.direct_connections <= var.connection.max_clients
      error_message = "reserved_concurrency ${local.concurrency} takes up to ${local.deployed_connections} direct connections during a deployment, ${local.concurrency} each for the old version and the new one; with ${local.bootstrap} for the bootstrap function and ${local.headroom} for people that is ${local.direct_connections}, but the instance takes ${coalesce(var.connection.max_clients, 0)} clients. Choose a lower reserved_concurrency, a larger instance class, or the proxy."
    }

    precondition {
      condition     = var.connection.shares == null ? true : contains(keys(local.shares), var.name)
      error_message = "connection.shares has no share for ${var.name}, only ${local.share_names}. Add it to shares of the module that the connection is of."
    }

    precondition {
      condition     = var.connection.shares == null ? true : coalesce(var.reserved_concurrency, local.share + 1) <= local.share || local.share == 0
      error_message = "reserved_concurrency ${coalesce(var.reserved_concurrency, "null")} is above the share of ${var.name}: connection.shares are ${local.share_names}. Choose a lower reserved_concurrency, or raise the share in the module that the connection is of."
    }

    precondition {
      condition     = local.environment_bytes <= 4096
      error_message = "environment is too large: with the module's own variables, some of which count as the longest that they can be, it is ${local.environment_bytes} bytes of JSON, and Lambda takes 4096. Shorten it by ${local.environment_bytes - 4096} bytes, or let the function read it from elsewhere."
    }
  }
}

# Lambda deletes the function's network interfaces only while the role may, up to 45 minutes after the function. The
# provider waits for that where it deletes their group: this one, which goes after the function and before the role.
resource "aws_security_group" "interfaces" {
  # checkov:skip=CKV2_AWS_5:The function's own group, attached below.
  name_prefix = "${var.name}-interfaces-"
  description = "Network interfaces of the function ${var.name}. Without rules."
  vpc_id      = var.network.vpc_id

  depends_on = [aws_iam_role_policy.runtime]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.main.function_name
  function_version = aws_lambda_function.main.version
}

# After a switch, wait one timeout so that invocations on the old version finish before its rules, its policy and its
# proxy are deleted. The first version has none before it. Do not lower the timeout in the same apply.
resource "terraform_data" "drained" {
  triggers_replace = [var.connection.host, aws_iam_role_policy.log_in.name]

  depends_on = [aws_lambda_alias.live]

  provisioner "local-exec" {
    command = "sleep ${aws_lambda_alias.live.function_version == "1" ? 0 : var.runtime.timeout_seconds}"
  }
}

resource "aws_lambda_provisioned_concurrency_config" "live" {
  for_each = toset(var.runtime.provisioned_concurrency > 0 ? [aws_lambda_alias.live.name] : [])

  function_name                     = aws_lambda_function.main.function_name
  qualifier                         = each.key
  provisioned_concurrent_executions = var.runtime.provisioned_concurrency
}

resource "aws_lambda_layer_version" "main" {
  layer_name               = var.name
  filename                 = var.layer
  source_code_hash         = filebase64sha256(var.layer)
  compatible_runtimes      = [var.runtime.name]
  compatible_architectures = [var.runtime.architecture]
}

# Events of asynchronous invocations that failed for good.
resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600 # 14 days, the longest
  sqs_managed_sse_enabled   = true
}

# Made before the function, which would else make it itself: unencrypted, and kept for ever.
resource "aws_cloudwatch_log_group" "main" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.network.log_key_arn
}
