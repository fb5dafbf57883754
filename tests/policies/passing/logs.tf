resource "aws_cloudwatch_log_group" "main" {
  name              = "/aws/lambda/app"
  retention_in_days = 365
}
