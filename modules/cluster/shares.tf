# Whether all functions that connect directly fit together. The same is reckoned of one alone in modules/function/budget.tf:
# twice its share during a deployment, 4 for its bootstrap function, and 2 for people.
locals {
  shares            = coalesce(var.shares, {})
  share_names       = join(", ", [for function, share in local.shares : "${function} ${share}"])
  sum_of_shares     = sum(concat([0], values(local.shares)))
  for_bootstraps    = 4 * length(local.shares)
  shares_in_clients = 2 * local.sum_of_shares + local.for_bootstraps + 2
}
