output "endpoint" {
  description = "URL of the API, without a slash at its end."
  value       = aws_apigatewayv2_api.main.api_endpoint

  depends_on = [aws_apigatewayv2_stage.main, aws_apigatewayv2_route.main]
}

output "execution_arn" {
  description = "What execute-api:Invoke is granted on, with /$default/METHOD/path after it."
  value       = aws_apigatewayv2_api.main.execution_arn
}

output "log_group" {
  description = "Log group of the access log."
  value       = aws_cloudwatch_log_group.access.name
}

output "monitoring" {
  description = "What is watched of the API, for the observability module: its name, its id and its stage."
  value = {
    name  = aws_apigatewayv2_api.main.name
    id    = aws_apigatewayv2_api.main.id
    stage = aws_apigatewayv2_stage.main.name
  }
}
