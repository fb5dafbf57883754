# Whether the connections and the time suffice. Each execution environment holds one connection: straight to the instance
# it counts among those that the instance bears; through the proxy it counts only while a transaction is open.
locals {
  concurrency        = coalesce(var.reserved_concurrency, 0) # null: only the account's limit, which no plan knows
  bootstrap          = 4                                     # an apply and the rotation of the application's password beside it, two each
  headroom           = 2
  direct_connections = local.concurrency + local.bootstrap + local.headroom

  # RDS recommends a pool 30 % above the most that is ever used.
  pooled_connections = ceil(1.3 * local.concurrency)

  connect_timeout_seconds = try(tonumber(lookup(var.environment, "PGCONNECT_TIMEOUT", "5")), 5)
}

check "pool_budget" {
  assert {
    condition     = var.connection.pool_size == null ? true : local.pooled_connections <= var.connection.pool_size
    error_message = "reserved_concurrency ${local.concurrency} may have ${local.concurrency} transactions open at once; with 30 % to spare that is ${local.pooled_connections} connections, but the proxy's pool has ${coalesce(var.connection.pool_size, 0)}. Those beyond wait up to ${var.connection.borrow_timeout_seconds} s, then fail. Choose a lower reserved_concurrency, a larger instance class, or a larger pool.max_percent."
  }
}
