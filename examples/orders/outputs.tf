output "application" {
  description = "What the platform's root needs of this service, for its variable services."
  value       = module.bootstrap.application
}

output "function_arn" {
  description = "What aws lambda invoke --function-name takes."
  value       = module.function.alias_arn
}
