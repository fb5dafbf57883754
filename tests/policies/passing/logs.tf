resource "aws_cloudwatch_log_group" "for_a_year" {
  name              = "/aws/lambda/app"
  retention_in_days = 365
}
