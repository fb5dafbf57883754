locals {
  burst = coalesce(var.throttling.burst, var.function.reserved_concurrency, 100)

  authorization_types = { none = "NONE", iam = "AWS_IAM", jwt = "JWT" }

  routes = {
    for key, route in var.routes : key => {
      authorization = coalesce(route.authorization, var.authorization)
      scopes        = route.scopes
    }
  }
  uses_jwt = contains(values(local.routes)[*].authorization, "jwt")

  # $default would ask the preflight of a browser, which carries no credentials, for authorization.
  preflight = "OPTIONS /{proxy+}"
  preflight_route = {
    for key in [local.preflight] : key => { authorization = "none", scopes = null }
    if var.cors != null && !contains(keys(local.routes), key) && try(local.routes["$default"].authorization, "none") != "none"
  }
}

resource "aws_apigatewayv2_api" "main" {
  name          = var.name
  protocol_type = "HTTP"

  dynamic "cors_configuration" {
    for_each = var.cors[*]

    content {
      allow_origins     = cors_configuration.value.origins
      allow_methods     = cors_configuration.value.methods
      allow_headers     = cors_configuration.value.headers
      expose_headers    = cors_configuration.value.expose_headers
      allow_credentials = cors_configuration.value.credentials
      max_age           = cors_configuration.value.max_age_seconds
    }
  }
}

resource "aws_apigatewayv2_integration" "main" {
  api_id                 = aws_apigatewayv2_api.main.id
  integration_type       = "AWS_PROXY"
  integration_uri        = var.function.invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 30000 # the longest: the function's own timeout ends first
}

resource "aws_apigatewayv2_route" "main" {
  for_each = merge(local.routes, local.preflight_route)

  api_id               = aws_apigatewayv2_api.main.id
  route_key            = each.key
  target               = "integrations/${aws_apigatewayv2_integration.main.id}"
  authorization_type   = local.authorization_types[each.value.authorization]
  authorizer_id        = each.value.authorization == "jwt" ? aws_apigatewayv2_authorizer.jwt["jwt"].id : null
  authorization_scopes = each.value.authorization == "jwt" ? coalesce(each.value.scopes, var.jwt.scopes) : null
}

resource "aws_apigatewayv2_authorizer" "jwt" {
  for_each = toset(local.uses_jwt ? ["jwt"] : [])

  api_id           = aws_apigatewayv2_api.main.id
  name             = each.key
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = var.jwt.issuer
    audience = var.jwt.audiences
  }
}

resource "aws_apigatewayv2_stage" "main" {
  api_id      = aws_apigatewayv2_api.main.id
  name        = "$default" # the stage without a path of its own
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit  = var.throttling.rate
    throttling_burst_limit = local.burst
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.access_log)
  }

  # Without it the first requests would be answered 500.
  depends_on = [aws_lambda_permission.invoke]
}

resource "aws_lambda_permission" "invoke" {
  statement_id  = "http-${var.name}"
  action        = "lambda:InvokeFunction"
  function_name = var.function.name
  qualifier     = var.function.qualifier
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.main.execution_arn}/*" # every stage, method and path of this API
}

# A request that is refused before it reaches the function is in this log only.
resource "aws_cloudwatch_log_group" "access" {
  name              = "/aws/vendedlogs/apigateway/${var.name}" # this prefix takes no room in the account's log policy
  retention_in_days = var.log_retention_days
  kms_key_id        = var.network.log_key_arn
}

locals {
  access_log = {
    requestId         = "$context.requestId"
    functionRequestId = "$context.integration.requestId"
    time              = "$context.requestTime"
    sourceIp          = "$context.identity.sourceIp"
    caller            = "$context.identity.userArn"
    subject           = "$context.authorizer.claims.sub"
    method            = "$context.httpMethod"
    path              = "$context.path"
    routeKey          = "$context.routeKey"
    status            = "$context.status"
    responseLength    = "$context.responseLength"
    milliseconds      = "$context.responseLatency"
    functionMs        = "$context.integration.latency"
    error             = "$context.error.message"
    functionError     = "$context.integration.error"
    authorizerError   = "$context.authorizer.error"
  }
}

check "burst" {
  assert {
    condition     = var.function.reserved_concurrency == null ? true : local.burst <= var.function.reserved_concurrency
    error_message = "throttling.burst ${local.burst} lets more requests in at once than the function's reserved_concurrency ${coalesce(var.function.reserved_concurrency, 0)}. Lambda throttles those beyond, and API Gateway answers them 500, not 429. Choose a lower burst, or a higher reserved_concurrency."
  }
}
