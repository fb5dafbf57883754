resource "aws_cloudwatch_log_group" "left_out" {
  name = "/aws/lambda/app"
}

resource "aws_cloudwatch_log_group" "for_ever" {
  name              = "/aws/rds/proxy/app"
  retention_in_days = 0
}
