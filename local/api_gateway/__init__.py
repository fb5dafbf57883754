"""What stands in for API Gateway: an HTTP API's requests become events of a function, its answers responses."""
