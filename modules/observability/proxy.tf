# On the dimension ProxyName alone: the guide and the API disagree on the values of TargetRole, and a dimension with a wrong
# value matches nothing. Each node of the proxy reports the number of its connections once a minute: their Sum is right
# for one minute only.
locals {
  proxy_alarms = merge([
    for p in var.proxy == null ? [] : [var.proxy] : {
      for alarm, given in {
        pinned = {
          means     = "At least ${var.thresholds.pinned_percent} % of the connections of the proxy ${p.name} are pinned to one client each."
          do        = "Find the statement: DB_PINNING_GUARD of the library or the proxy's log names it."
          metric    = "DatabaseConnectionsCurrentlySessionPinned"
          whole     = "DatabaseConnections"
          threshold = var.thresholds.pinned_percent
          minutes   = [3, 5]
        }

        pool = {
          means     = "The proxy ${p.name} has opened ${var.thresholds.pool_percent} % of the ${p.pool_size} connections that it may, or more."
          do        = "Look for pinned sessions and long transactions first; then enlarge pool.max_percent or the instance."
          metric    = "DatabaseConnections"
          whole     = "MaxDatabaseConnectionsAllowed"
          threshold = var.thresholds.pool_percent
          minutes   = [3, 5]
        }

        borrow-latency = {
          means     = "Clients of the proxy ${p.name} wait ${local.borrow_latency_ms} ms or more for a connection; after ${p.borrow_timeout_seconds} s they fail."
          do        = "The pool is too small for the transactions that are open at once: shorten those, find pins, enlarge the pool."
          metric    = "DatabaseConnectionsBorrowLatency"
          statistic = "Average"
          threshold = 1000 * local.borrow_latency_ms # microseconds
          minutes   = [3, 5]
        }

        failed-logins = {
          means     = "The proxy ${p.name} refuses clients: a wrong token, user or password, or no TLS."
          do        = "Compare the function's connection and user with the proxy's; the proxy's log names the user."
          metric    = "ClientConnectionsSetupFailedAuth"
          threshold = var.thresholds.failed_logins
        }

        # The proxy that the module makes refuses them: somebody changed it.
        without-tls = {
          means     = "Clients are connected to the proxy ${p.name} without TLS, which its configuration forbids."
          do        = "Apply the configuration again, and find who changed the proxy."
          metric    = "ClientConnectionsNoTLS"
          threshold = var.thresholds.clients_without_tls
          minutes   = [1, 1]
        }

        failed-connections = {
          means     = "The proxy ${p.name} cannot open connections to the database."
          do        = "The health of its target says why: aws rds describe-db-proxy-targets --db-proxy-name ${p.name}."
          metric    = "DatabaseConnectionsSetupFailed"
          threshold = var.thresholds.failed_connections
        }
        } : "proxy-${alarm}" => merge(
        local.usual,
        { namespace = "AWS/RDS", dimensions = { ProxyName = p.name }, heading = alarm },
        given,
      )
    }
  ]...)

  # At 5 s, the proxy module's default, 100 ms.
  borrow_latency_ms = coalesce(var.thresholds.borrow_latency_ms, 20 * try(var.proxy.borrow_timeout_seconds, 5))
}
