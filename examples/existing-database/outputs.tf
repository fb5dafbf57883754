output "function_arn" {
  description = "What aws lambda invoke --function-name takes."
  value       = module.function.alias_arn
}

output "bootstrap_arn" {
  description = "The bootstrap function: what make migrate invokes."
  value       = module.bootstrap.function_arn
}

output "bootstrap_result" {
  description = "What the bootstrap function did last, as JSON."
  value       = module.bootstrap.result
}

output "database_identifier" {
  description = "Identifier of the instance."
  value       = var.identifier
}

output "proxy" {
  description = "Name of the proxy, for which make deploy waits."
  value       = module.proxy.name
}
