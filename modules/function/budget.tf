# Whether connections, time and environment variables suffice. Each execution environment holds one connection. A direct
# one counts against the instance all the time, one through the proxy only while a transaction is open.
locals {
  concurrency = coalesce(var.reserved_concurrency, 0) # null: only the account's limit, which no plan knows

  # After a deployment Lambda keeps the execution environments of the old version for a while. They are frozen and cannot
  # close their connections, while as many of the new version connect.
  deployed_connections = 2 * local.concurrency
  bootstrap            = 4 # an apply and the rotation of the application's password beside it, two each
  headroom             = 2
  direct_connections   = local.deployed_connections + local.bootstrap + local.headroom

  # What whoever owns the connection allows each function. Null: nothing, and this one is held alone.
  shares      = coalesce(var.connection.shares, {})
  share       = lookup(local.shares, var.name, 0)
  share_names = join(", ", [for function, share in local.shares : "${function} ${share}"])

  # RDS recommends a pool 30 % above the most that is ever used.
  pooled_connections = ceil(1.3 * local.concurrency)

  # Lambda measures the variables as one JSON object, whose bytes are three quarters of its base64. What a first plan does
  # not know counts as the longest that it can be.
  environment_bytes = floor(length(trim(base64encode(jsonencode(merge(
    local.environment,
    { PGHOST = format("%128s", ""), PGSSLROOTCERT = format("%50s", "") },
    var.reader_connection == null ? {} : { PGHOST_READER = format("%128s", "") },
    var.auth == "secret" ? { DB_SECRET_ARN = format("%230s", "") } : {},
  ))), "=")) * 3 / 4)

  connect_timeout_seconds = try(tonumber(lookup(var.environment, "PGCONNECT_TIMEOUT", "5")), 5)
}

check "pool_budget" {
  assert {
    condition     = var.connection.pool_size == null ? true : local.pooled_connections <= var.connection.pool_size
    error_message = "reserved_concurrency ${local.concurrency} may have ${local.concurrency} transactions open at once; with 30 % to spare that is ${local.pooled_connections} connections, but the proxy's pool has ${coalesce(var.connection.pool_size, 0)}. Those beyond wait up to ${var.connection.borrow_timeout_seconds} s, then fail. Choose a lower reserved_concurrency, a larger instance class, or a larger pool.max_percent."
  }
}
