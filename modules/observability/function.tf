locals {
  # The first part of the names of a function's alarms.
  function_labels = { for f in var.functions : f.name => f.name == var.name ? "function" : "function-${f.name}" }

  function_alarms = merge([
    for f in var.functions : {
      for alarm, given in {
        errors = {
          means     = "At least ${var.thresholds.error_percent} % of the invocations of ${f.name} fail."
          do        = "Read the function's log for the error; alarms of the proxy and the database beside this one say whether it is theirs."
          metric    = "Errors"
          whole     = "Invocations"
          threshold = var.thresholds.error_percent
        }

        throttles = {
          means     = "Lambda refuses invocations of ${f.name}."
          do        = "Raise reserved_concurrency, as far as the connections go, or slow the callers down."
          metric    = "Throttles"
          threshold = var.thresholds.throttles
          minutes   = [3, 5]
        }

        duration = {
          means     = "Of the invocations of ${f.name} one in a hundred takes ${floor(local.duration_ms[f.name])} ms or more, and its timeout is ${f.timeout_seconds} s."
          do        = "Look for slow statements and for waiting in the proxy's pool, before invocations are cut off."
          metric    = "Duration"
          statistic = "p99"
          threshold = local.duration_ms[f.name]
          minutes   = [3, 5]
        }

        # Below 10 the only whole number above nine tenths is the reserve itself, which throttles tell of.
        concurrency = {
          means     = "${f.name} uses nine tenths of its reserved concurrency or more."
          do        = "Find out whether it serves more than before or waits longer; raise reserved_concurrency before callers are refused."
          metric    = "ConcurrentExecutions"
          statistic = "Maximum"
          threshold = var.thresholds.concurrency != null ? var.thresholds.concurrency : coalesce(f.reserved_concurrency, 0) < 10 ? null : 0.9 * f.reserved_concurrency
          minutes   = [5, 5]
        }

        event-age = {
          means     = "Events for ${f.name} wait ${floor(local.event_age_ms[f.name] / 1000)} s or longer, more than retries explain."
          do        = "Look for throttles and errors; Lambda drops an event after 6 hours."
          metric    = "AsyncEventAge"
          statistic = "Maximum"
          threshold = local.event_age_ms[f.name]
          minutes   = [1, 1]
        }

        dead-letters = {
          means      = "Events for ${f.name} failed for good and wait in the queue ${f.dead_letter_queue}."
          do         = "Mend the cause, send the events again, and empty the queue: it keeps them 14 days."
          namespace  = "AWS/SQS"
          dimensions = { QueueName = f.dead_letter_queue }
          metric     = "ApproximateNumberOfMessagesVisible"
          statistic  = "Maximum"
          threshold  = var.thresholds.dead_letters
          minutes    = [1, 1]
        }

        connect-failures = {
          means     = "${f.name} cannot connect to the database."
          do        = "The log lines \"connect failed\" say why: host, user and what the server answered."
          namespace = "LambdaPostgres"
          metric    = "ConnectFailures"
          threshold = var.thresholds.connect_failures
        }

        # RDS Proxy has no metric for who waited longer than the borrow timeout: the library counts its refusals.
        pool-exhausted = {
          means      = "${f.name} finds no free connection, in the proxy's pool within the borrow timeout or at the server."
          do         = "Look for pinned sessions and long transactions; then a larger pool or instance, or fewer executions."
          namespace  = "LambdaPostgres"
          dimensions = { FunctionName = f.name, error = "PoolExhausted" }
          metric     = "Refusals"
          threshold  = var.thresholds.pool_exhausted
        }
        } : "${local.function_labels[f.name]}-${alarm}" => merge(
        local.usual,
        { namespace = "AWS/Lambda", dimensions = { FunctionName = f.name }, heading = alarm },
        given,
      )
    }
  ]...)

  duration_ms = { for f in var.functions : f.name => var.thresholds.duration_ms != null ? var.thresholds.duration_ms : 800 * f.timeout_seconds }

  # Lambda tries an event again after 1 and after 2 more minutes; each attempt may take the timeout.
  event_age_ms = { for f in var.functions : f.name => 1000 * (var.thresholds.event_age_seconds != null ? var.thresholds.event_age_seconds : 180 + 3 * f.timeout_seconds) }
}
