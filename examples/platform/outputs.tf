output "network" {
  description = "Where services' functions run."
  value       = module.network
}

output "database" {
  description = "What services' bootstrap functions reach."
  value       = module.database
}

output "connection" {
  description = "How services' functions connect, with the share of each."
  value       = module.proxy.connection
}

output "monitoring" {
  description = "What the observability module of a service watches besides its own function."
  value       = { proxy = module.proxy.monitoring, database = module.database.monitoring }
}

output "proxy" {
  description = "Name of the proxy."
  value       = module.proxy.name
}
