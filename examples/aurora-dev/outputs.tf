output "function_arn" {
  description = "What aws lambda invoke --function-name takes."
  value       = module.function.alias_arn
}

output "connection" {
  description = "Where and how the function connects."
  value       = module.cluster.connection
}

output "database_identifier" {
  description = "Identifier of the cluster."
  value       = module.cluster.identifier
}

output "master_secret_arn" {
  description = "The master user's secret, for whoever may read it."
  value       = module.cluster.master_secret_arn
}

output "application" {
  description = "The application's database users, by password and by IAM, and the secret."
  value       = module.bootstrap.application
}

output "bootstrap_result" {
  description = "What the bootstrap function did last, as JSON."
  value       = module.bootstrap.result
}

output "bootstrap_arn" {
  description = "The bootstrap function: what make migrate invokes."
  value       = module.bootstrap.function_arn
}

output "log_group" {
  description = "The function's log group."
  value       = module.function.log_group
}

output "final_snapshot" {
  description = "Name of the snapshot that a destroy takes; null without one."
  value       = module.cluster.final_snapshot
}

output "alarms" {
  description = "Names of the alarms, first the one that says whether the path to the database is broken."
  value       = module.observability.alarms
}

output "alarm_topics" {
  description = "SNS topics that alarms are sent to: subscribe to them."
  value       = module.observability.topic_arns
}

output "dashboard" {
  description = "Name of the CloudWatch dashboard."
  value       = module.observability.dashboard
}
