# Rows of widgets, which share the 24 columns of the grid.
locals {
  rows = [for row in [
    [local.good, local.states],
    [local.graphs.connections, local.graphs.proxy_connections],
    [local.graphs.borrowing, local.graphs.logging_in, local.graphs.answering],
    [local.graphs.requests, local.graphs.latency, local.graphs.messages, local.graphs.message_age],
    [local.graphs.invocations, local.graphs.duration, local.graphs.concurrency],
    [local.graphs.connecting, local.graphs.reconnects, local.graphs.refusals],
    [local.graphs.events, local.graphs.processors, local.graphs.instance_latency],
    [local.graphs.memory, local.graphs.storage, local.graphs.transaction_ids],
    [local.graphs.reader_lag, local.graphs.capacity, local.graphs.uptime],
  ] : [for widget in row : widget if widget.shown]]

  dashboard = {
    widgets = flatten([
      for y, row in [for row in local.rows : row if length(row) > 0] : [
        for x, widget in row : {
          type       = widget.type
          x          = 24 / length(row) * x
          y          = 7 * y
          width      = 24 / length(row)
          height     = 7
          properties = widget.properties
        }
      ]
    ])
  }

  proxies = var.proxy == null ? [] : [var.proxy]
  direct  = var.proxy == null

  good = {
    type  = "text"
    shown = true
    properties = {
      markdown = join("\n", concat(
        ["## ${var.name}: what good looks like", ""],
        [for p in local.proxies : "- **Connections**: those of the clients rise and fall with the load; those of the database stay flat, below ${var.thresholds.pool_percent} % of the ${p.pool_size} that the proxy may open. The gap between the two is what the proxy saves."],
        [for p in local.proxies : "- **Proxy**: no pinned session, each of which keeps a connection to itself. Borrowing takes far less than ${local.borrow_latency_ms} ms. No failed logins or connections."],
        [for id in [local.id] : "- **Connections**: those of the database follow the executions, and stay below ${floor(local.connections)} of ${var.database.max_clients}." if local.direct],
        [for api in slice(var.apis, 0, min(1, length(var.apis))) : "- **HTTP API**: hardly any 5xx; one request in ten takes less than ${var.thresholds.latency_ms} ms. 4xx are the callers', or throttling (429)."],
        [for queue in slice(var.queues, 0, min(1, length(var.queues))) : "- **Queues**: the oldest message is seconds old; the queue of failed messages is empty."],
        [
          "- **Functions**: no errors, no throttles; one invocation in a hundred still ends well before the timeout.",
          "- **Library**: connecting takes tens of milliseconds; `lost while idle` is rare; nothing is refused.",
          "- **Instance**: processors below ${var.thresholds.cpu_percent} %; memory and storage level; transaction ids fall again after each vacuum.",
          "",
          "What to do about an alarm is in its description and in docs/operations.md.",
        ],
      ))
    }
  }

  states = {
    type  = "alarm"
    shown = true
    properties = {
      title = "Alarms"
      alarms = [
        for name in concat([aws_cloudwatch_composite_alarm.path_broken.alarm_name], values(local.alarm_name)) :
        "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${name}"
      ]
    }
  }

  graphs = {
    for graph, given in local.lines : graph => {
      type  = "metric"
      shown = length(given.metrics) > 0
      properties = merge(
        { region = local.region, view = "timeSeries", period = 60, stat = "Sum", yAxis = { left = { min = 0, label = given.unit, showUnits = false } } },
        { title = given.title, metrics = given.metrics },
        { annotations = { horizontal = [for label, value in lookup(given, "limits", {}) : { label = label, value = value } if value != null] } },
      )
    }
  }

  lines = {
    # The point of it all: many clients, few connections of the database.
    connections = {
      title = "Connections: clients and database"
      unit  = "connections"
      metrics = concat(
        [for p in local.proxies : ["AWS/RDS", "ClientConnections", "ProxyName", p.name, { label = "clients of the proxy" }]],
        [for f in var.functions : ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", f.name, { label = "executions of ${f.name}", stat = "Maximum" }]],
        [for p in local.proxies : ["AWS/RDS", "DatabaseConnections", "ProxyName", p.name, { label = "of the proxy to the database" }]],
        [concat(["AWS/RDS", "DatabaseConnections"], local.watched_series, [{ label = "of the database, all", stat = "Maximum" }])],
      )
      limits = { "taken by the database" = var.database.max_clients, "of which by the proxy" = try(var.proxy.pool_size, null) }
    }

    proxy_connections = {
      title = "What the proxy's connections do"
      unit  = "connections"
      metrics = concat([], [
        for p in local.proxies : [
          ["AWS/RDS", "DatabaseConnections", "ProxyName", p.name, { label = "open" }],
          ["AWS/RDS", "DatabaseConnectionsCurrentlyBorrowed", "ProxyName", p.name, { label = "borrowed" }],
          ["AWS/RDS", "DatabaseConnectionsCurrentlyInTransaction", "ProxyName", p.name, { label = "in a transaction" }],
          ["AWS/RDS", "DatabaseConnectionsCurrentlySessionPinned", "ProxyName", p.name, { label = "pinned" }],
          ["AWS/RDS", "MaxDatabaseConnectionsAllowed", "ProxyName", p.name, { label = "allowed" }],
        ]
      ]...)
    }

    borrowing = {
      title = "Proxy: waiting for a connection"
      unit  = "ms"
      metrics = concat([], [
        for p in local.proxies : [
          ["AWS/RDS", "DatabaseConnectionsBorrowLatency", "ProxyName", p.name, { id = "borrow", stat = "Average", visible = false }],
          [{ expression = "borrow / 1000", label = "to borrow one", id = "borrow_ms" }],
        ]
      ]...)
      limits = { "alarm" = local.borrow_latency_ms }
    }

    logging_in = {
      title = "Proxy: refused clients, failed connections"
      unit  = "a minute"
      metrics = concat([], [
        for p in local.proxies : [
          ["AWS/RDS", "ClientConnectionsSetupFailedAuth", "ProxyName", p.name, { label = "failed logins" }],
          ["AWS/RDS", "ClientConnectionsNoTLS", "ProxyName", p.name, { label = "clients without TLS" }],
          ["AWS/RDS", "DatabaseConnectionsSetupFailed", "ProxyName", p.name, { label = "failed connections to the database" }],
        ]
      ]...)
    }

    # Without the queries of clients that use the extended protocol, which psycopg2 does not.
    answering = {
      title = "Proxy: time of a query"
      unit  = "ms"
      metrics = concat([], [
        for p in local.proxies : [
          ["AWS/RDS", "QueryResponseLatency", "ProxyName", p.name, { id = "proxy", stat = "Average", visible = false }],
          ["AWS/RDS", "QueryDatabaseResponseLatency", "ProxyName", p.name, { id = "database", stat = "Average", visible = false }],
          [{ expression = "proxy / 1000", label = "until the proxy answers", id = "proxy_ms" }],
          [{ expression = "database / 1000", label = "of which in the database", id = "database_ms" }],
        ]
      ]...)
    }

    requests = {
      title = "HTTP API: requests"
      unit  = "a minute"
      metrics = concat([], [
        for api in var.apis : [
          ["AWS/ApiGateway", "Count", "ApiId", api.id, "Stage", api.stage, { label = "${api.name}: all", stat = "SampleCount" }],
          ["AWS/ApiGateway", "4xx", "ApiId", api.id, "Stage", api.stage, { label = "${api.name}: refused, 4xx" }],
          ["AWS/ApiGateway", "5xx", "ApiId", api.id, "Stage", api.stage, { label = "${api.name}: failed, 5xx" }],
        ]
      ]...)
    }

    latency = {
      title = "HTTP API: time of an answer"
      unit  = "ms"
      metrics = concat([], [
        for api in var.apis : [
          ["AWS/ApiGateway", "Latency", "ApiId", api.id, "Stage", api.stage, { label = "${api.name}: half", stat = "p50" }],
          ["AWS/ApiGateway", "Latency", "ApiId", api.id, "Stage", api.stage, { label = "${api.name}: 9 in ten", stat = "p90" }],
          ["AWS/ApiGateway", "IntegrationLatency", "ApiId", api.id, "Stage", api.stage, { label = "${api.name}: 9 in ten, the function's part", stat = "p90" }],
        ]
      ]...)
      limits = { alarm = var.thresholds.latency_ms }
    }

    messages = {
      title = "Queues: messages"
      unit  = "messages"
      metrics = concat([], [
        for queue in var.queues : [
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name, { label = "${queue.name}: waiting", stat = "Maximum" }],
          ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", queue.name, { label = "${queue.name}: worked on", stat = "Maximum" }],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.failed, { label = "${queue.name}: failed for good", stat = "Maximum" }],
        ]
      ]...)
    }

    message_age = {
      title = "Queues: age of the oldest message"
      unit  = "s"
      metrics = [
        for queue in var.queues : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue.name, { label = queue.name, stat = "Maximum" }]
      ]
      limits = { for queue in var.queues : "alarm of ${queue.name}" => local.message_age_seconds[queue.name] }
    }

    invocations = {
      title = "Functions: invocations"
      unit  = "a minute"
      metrics = concat([
        for b in var.bootstrap == null ? [] : [var.bootstrap] : ["AWS/Lambda", "Errors", "FunctionName", b.name, { label = "${b.name}: failed" }]
        ], [
        for f in var.functions : [
          ["AWS/Lambda", "Invocations", "FunctionName", f.name, { label = "${f.name}: begun" }],
          ["AWS/Lambda", "Errors", "FunctionName", f.name, { label = "${f.name}: failed" }],
          ["AWS/Lambda", "Throttles", "FunctionName", f.name, { label = "${f.name}: refused" }],
        ]
      ]...)
    }

    duration = {
      title = "Functions: duration"
      unit  = "ms"
      metrics = concat([], [
        for f in var.functions : [
          ["AWS/Lambda", "Duration", "FunctionName", f.name, { label = "${f.name}: half", stat = "p50" }],
          ["AWS/Lambda", "Duration", "FunctionName", f.name, { label = "${f.name}: 99 in a hundred", stat = "p99" }],
        ]
      ]...)
      limits = { for f in var.functions : "timeout of ${f.name}" => 1000 * f.timeout_seconds }
    }

    concurrency = {
      title = "Functions: concurrent executions"
      unit  = "executions"
      metrics = [
        for f in var.functions : ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", f.name, { label = f.name, stat = "Maximum" }]
      ]
      limits = { for f in var.functions : "reserve of ${f.name}" => f.reserved_concurrency }
    }

    connecting = {
      title = "Library: time to connect"
      unit  = "ms"
      metrics = concat([], [
        for f in var.functions : [
          ["LambdaPostgres", "ConnectMilliseconds", "FunctionName", f.name, { label = "${f.name}: half", stat = "p50" }],
          ["LambdaPostgres", "ConnectMilliseconds", "FunctionName", f.name, { label = "${f.name}: 99 in a hundred", stat = "p99" }],
          ["LambdaPostgres", "WaitMilliseconds", "FunctionName", f.name, { label = "${f.name}: longest wait for another thread", stat = "Maximum" }],
        ]
      ]...)
    }

    reconnects = {
      title = "Library: new connections, and reconnects by reason"
      unit  = "a minute"
      metrics = concat([], [
        for number, f in var.functions : [
          ["LambdaPostgres", "ConnectMilliseconds", "FunctionName", f.name, { label = "${f.name}: all", stat = "SampleCount" }],
          [{ expression = "SEARCH('{LambdaPostgres,FunctionName,reason} MetricName=\"Reconnects\" FunctionName=\"${f.name}\"', 'Sum', 60)", label = "${f.name}:", id = "reconnects${number}" }],
        ]
      ]...)
    }

    refusals = {
      title = "Library: refused and failed"
      unit  = "a minute"
      metrics = concat([], [
        for f in var.functions : concat(
          [["LambdaPostgres", "ConnectFailures", "FunctionName", f.name, { label = "${f.name}: attempts to connect that failed" }]],
          [for error in ["CannotLend", "LoginRefused", "PoolExhausted"] : ["LambdaPostgres", "Refusals", "FunctionName", f.name, "error", error, { label = "${f.name}: ${error}" }]],
          [["LambdaPostgres", "PinningStatements", "FunctionName", f.name, { label = "${f.name}: statements that would pin" }]],
        )
      ]...)
    }

    events = {
      title = "Functions: asynchronous events"
      unit  = "seconds, events"
      metrics = concat([], [
        for number, f in var.functions : [
          ["AWS/Lambda", "AsyncEventAge", "FunctionName", f.name, { id = "age${number}", stat = "Maximum", visible = false }],
          [{ expression = "age${number} / 1000", label = "${f.name}: age of the oldest (s)", id = "seconds${number}" }],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", f.dead_letter_queue, { label = "${f.name}: dead letters", stat = "Maximum" }],
          ["AWS/Lambda", "DeadLetterErrors", "FunctionName", f.name, { label = "${f.name}: lost, not even a dead letter" }],
        ]
      ]...)
    }

    processors = {
      title   = "Instance: processors"
      unit    = "%"
      metrics = [concat(["AWS/RDS", "CPUUtilization"], local.watched_series, [{ label = "busy", stat = "Average" }])]
      limits  = { alarm = var.thresholds.cpu_percent }
    }

    instance_latency = {
      title = "Instance: time of an access to the disk"
      unit  = "ms"
      metrics = [
        concat(["AWS/RDS", "ReadLatency"], local.watched_series, [{ id = "read", stat = "Average", visible = false }]),
        concat(["AWS/RDS", "WriteLatency"], local.watched_series, [{ id = "write", stat = "Average", visible = false }]),
        [{ expression = "1000 * read", label = "reading", id = "read_ms" }],
        [{ expression = "1000 * write", label = "writing", id = "write_ms" }],
      ]
    }

    memory = {
      title   = "Instance: free memory"
      unit    = "bytes"
      metrics = [concat(["AWS/RDS", "FreeableMemory"], local.watched_series, [{ label = "free", stat = "Average" }])]
      limits  = { alarm = local.alarms["database-memory"].threshold }
    }

    storage = {
      title   = "Instance: free storage"
      unit    = "bytes"
      metrics = [for shown in var.database.storage_gib == null ? [] : ["shown"] : concat(["AWS/RDS", "FreeStorageSpace"], local.watched_series, [{ label = "free", stat = "Minimum" }])]
      limits  = { alarm = local.alarms["database-storage"].threshold }
    }

    reader_lag = {
      title = "Readers: how far behind the writer"
      unit  = try(local.cluster.aurora, true) ? "ms" : "s"
      metrics = [
        for c in local.cluster == null ? [] : [local.cluster] : concat(
          ["AWS/RDS", local.alarms["cluster-reader-lag"].metric],
          flatten([for dimension, value in local.alarms["cluster-reader-lag"].dimensions : [dimension, value]]),
          [{ label = "the slowest", stat = "Maximum" }],
        ) if c.readers > 0
      ]
      limits = { alarm = try(local.alarms["cluster-reader-lag"].threshold, null) }
    }

    capacity = {
      title = "Serverless: capacity of the writer"
      unit  = "ACU, %"
      metrics = concat([], [
        for c in local.cluster == null ? [] : [local.cluster] : [
          concat(["AWS/RDS", "ServerlessDatabaseCapacity"], local.watched_series, [{ label = "ACU", stat = "Average" }]),
          concat(["AWS/RDS", "ACUUtilization"], local.watched_series, [{ label = "in percent of the most", stat = "Average" }]),
        ] if c.serverless
      ]...)
    }

    uptime = {
      title   = "Writer: seconds since it started"
      unit    = "s"
      metrics = [for c in local.cluster == null ? [] : [local.cluster] : concat(["AWS/RDS", "EngineUptime"], local.watched_series, [{ label = "up", stat = "Average" }])]
      limits  = { alarm = try(local.alarms["cluster-failover"].threshold, null) }
    }

    transaction_ids = {
      title   = "Instance: age of the oldest transaction id"
      unit    = "transactions"
      metrics = [concat(["AWS/RDS", "MaximumUsedTransactionIDs"], local.watched_series, [{ label = "in use", stat = "Maximum" }])]
      limits  = { alarm = var.thresholds.transaction_ids }
    }
  }
}

resource "aws_cloudwatch_dashboard" "main" {
  dashboard_name = var.name
  dashboard_body = jsonencode(local.dashboard)
}
