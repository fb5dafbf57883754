output "topic_arns" {
  description = "The topics that are told of alarms: subscribe to them."
  value       = local.actions
}

output "alarms" {
  description = "Names of the alarms, first the composite one."
  value       = concat([aws_cloudwatch_composite_alarm.path_broken.alarm_name], values(local.alarm_name))
}

output "dashboard" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.main.dashboard_name
}
