# What the size of the instance asks of its proxy. A class that is not known asks what the smallest does.
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

  pool_size = floor(var.database.connection.max_clients * var.pool.max_percent / 100)
}

check "pool_share" {
  assert {
    condition     = var.pool.max_percent >= local.least_percent
    error_message = "pool.max_percent ${var.pool.max_percent} is below ${local.least_percent}, the least that AWS recommends for ${coalesce(var.database.instance_class, "this instance")}: of ${var.database.connection.max_clients} connections the pool has ${local.pool_size}."
  }
}
