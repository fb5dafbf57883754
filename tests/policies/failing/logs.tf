resource "aws_cloudwatch_log_group" "plain_left_out" {
  name = "/aws/lambda/app"
}

resource "aws_cloudwatch_log_group" "plain_for_ever" {
  name              = "/aws/rds/proxy/app"
  retention_in_days = 0
}

resource "aws_cloudwatch_log_group" "each_for_ever" {
  for_each = toset(["a", "b"])

  name = "/aws/lambda/${each.key}"
}

resource "aws_cloudwatch_log_group" "counted_for_ever" {
  count = 2

  name = "/aws/lambda/${count.index}"
}
