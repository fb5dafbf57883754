output "functions" {
  description = "What aws lambda invoke --function-name takes, by framework."
  value       = { for framework, function in module.function : framework => function.alias_arn }
}
