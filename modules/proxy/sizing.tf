# What the size of the instance asks of its proxy. A class that is not known, or db.serverless, asks what the smallest does.
locals {
  class = try(regex("^db\\.(?P<family>[a-z])[0-9]+[a-z]*\\.(?P<size>[0-9a-z]+)$", var.database.instance_class), { family = "", size = "" })

  # Free addresses, with 3 more for each further endpoint in the same subnets.
  near_endpoints = length([for endpoint in values(var.endpoints) : endpoint if endpoint.subnet_ids == null])
  wanted_addresses = 3 * local.near_endpoints + lookup({
    "2xlarge"  = 15
    "4xlarge"  = 25
    "8xlarge"  = 45
    "12xlarge" = 60
    "16xlarge" = 75
    "24xlarge" = 110
  }, local.class.size, 10)

  # The least share of max_connections with which the pool of a small instance works well.
  least_percent = local.class.family == "t" ? lookup({ micro = 100, small = 100, medium = 55, large = 35 }, local.class.size, 20) : 20

  share_names   = join(", ", [for function, share in coalesce(var.shares, {}) : "${function} ${share}"])
  sum_of_shares = sum(concat([0], values(coalesce(var.shares, {}))))

  pool_size = floor(var.database.connection.max_clients * var.pool.max_percent / 100)
}

check "pool_share" {
  assert {
    condition     = var.pool.max_percent >= local.least_percent
    error_message = "pool.max_percent ${var.pool.max_percent} is below ${local.least_percent}, the least that AWS recommends for ${coalesce(var.database.instance_class, "this instance")}: of ${var.database.connection.max_clients} connections the pool has ${local.pool_size}."
  }
}

check "shares" {
  assert {
    condition     = ceil(1.3 * local.sum_of_shares) <= local.pool_size
    error_message = "shares are ${local.share_names}: ${local.sum_of_shares} transactions may be open at once; with 30 % to spare that is ${ceil(1.3 * local.sum_of_shares)} connections, but the pool has ${local.pool_size}. Functions then wait for each other, up to ${var.pool.borrow_timeout_seconds} s. Choose lower shares, a larger instance class, or a larger pool.max_percent."
  }
}
