resource "aws_lambda_function" "without_a_path" {
  function_name = "without-a-path"
  role          = "arn:aws:iam::111122223333:role/function"
  runtime       = "python3.13"
  handler       = "handler.handler"
  s3_bucket     = "packages"
  s3_key        = "function.zip"

  vpc_config {
    subnet_ids         = ["subnet-0a", "subnet-0b"]
    security_group_ids = [aws_security_group.without_a_path.id]
  }
}

resource "aws_security_group" "without_a_path" {
  name   = "without-a-path"
  vpc_id = "vpc-0123456789abcdef0"
}
