variable "name" {
  description = "Name of the API: the network's, or one that begins with it and a hyphen."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits, hyphens and underscores."
  }
}

variable "network" {
  description = "The network module: the key of its logs encrypts the access log."
  nullable    = false
  type = object({
    log_key_arn = string
  })
}

variable "function" {
  description = "The function module's output alias, which answers the requests."
  nullable    = false
  type = object({
    name                 = string
    qualifier            = string
    invoke_arn           = string
    timeout_seconds      = number
    reserved_concurrency = optional(number)
  })

  validation {
    condition     = var.function.timeout_seconds <= 29
    error_message = "function.timeout_seconds ${var.function.timeout_seconds} must be at most 29: API Gateway gives up after 30 s, while a function that runs on would go on writing for nobody. Set runtime.timeout_seconds of the function module."
  }
}

variable "authorization" {
  description = "Who may call: iam (signed requests), jwt (tokens of an issuer) or none (everybody on the internet)."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["iam", "jwt", "none"], var.authorization)
    error_message = "authorization must be iam, jwt or none. With none everybody on the internet may call the function."
  }
}

variable "jwt" {
  description = "Tokens that are accepted: their issuer, audiences, and scopes of which a token needs one."
  default     = null
  type = object({
    issuer    = string
    audiences = list(string)
    scopes    = optional(list(string), [])
  })

  validation {
    condition     = var.jwt != null || !contains([for route in values(var.routes) : coalesce(route.authorization, var.authorization)], "jwt")
    error_message = "jwt must be set where authorization is jwt: its issuer and audiences decide which tokens are accepted."
  }

  validation {
    condition     = var.jwt == null || contains([for route in values(var.routes) : coalesce(route.authorization, var.authorization)], "jwt")
    error_message = "jwt must not be set while no route has the authorization jwt: nothing would check a token. Set authorization = \"jwt\"."
  }

  validation {
    condition     = var.jwt == null ? true : can(regex("^https://[^/?#@\\s]+(/[^?#\\s]*)?$", var.jwt.issuer))
    error_message = "jwt.issuer must be an https URL without query and fragment, letter by letter the claim iss of the tokens. API Gateway reads ISSUER/.well-known/openid-configuration when the authorizer is made."
  }

  validation {
    condition     = var.jwt == null ? true : length(var.jwt.audiences) > 0 && alltrue([for audience in var.jwt.audiences : trimspace(audience) != ""])
    error_message = "jwt.audiences must be at least one, and none may be empty: else every token of the issuer would be accepted, whomever it was made for."
  }
}

variable "routes" {
  description = "Routes by key: METHOD /path or $default. authorization and scopes replace those of the API."
  nullable    = false
  default     = { "$default" = {} }
  type = map(object({
    authorization = optional(string)
    scopes        = optional(list(string))
  }))

  validation {
    condition     = length(var.routes) >= 1 && length(var.routes) <= 299
    error_message = "routes must be 1 to 299, and here are ${length(var.routes)}: API Gateway takes 300, and one is kept for preflights."
  }

  validation {
    condition = alltrue([
      for key in keys(var.routes) : key == "$default" || can(regex("^(ANY|DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT) (/|(/([A-Za-z0-9._~-]+|\\{[A-Za-z0-9._:-]+\\}))*(/\\{[A-Za-z0-9._:-]+\\+\\})?)$", key)) && !endswith(key, " ")
    ])
    error_message = "routes must have keys such as $default, \"GET /users\", \"PATCH /users/{id}\" or \"ANY /{proxy+}\": a method or ANY, one space, and a path without an ending slash. A greedy variable {name+} is the last part."
  }

  validation {
    condition     = alltrue([for route in values(var.routes) : contains(["iam", "jwt", "none"], coalesce(route.authorization, var.authorization))])
    error_message = "routes must have the authorization iam, jwt or none."
  }

  validation {
    condition     = alltrue([for route in values(var.routes) : route.scopes == null || coalesce(route.authorization, var.authorization) == "jwt"])
    error_message = "routes must have scopes only where their authorization is jwt: nothing else knows scopes."
  }
}

variable "throttling" {
  description = "Requests a second in the long run, and at once. burst null: the function's reserved_concurrency, else 100."
  nullable    = false
  default     = {}
  type = object({
    rate  = optional(number, 100)
    burst = optional(number)
  })

  validation {
    condition     = var.throttling.rate >= 1
    error_message = "throttling.rate must be at least 1 request a second: with 0 API Gateway refuses every request."
  }

  validation {
    condition     = var.throttling.burst == null ? true : var.throttling.burst >= 1 && floor(var.throttling.burst) == var.throttling.burst
    error_message = "throttling.burst must be a whole number of at least 1: with 0 API Gateway refuses every request."
  }
}

variable "cors" {
  description = "Web pages that may call from a browser. Null: none. credentials: cookies and authorization of the browser."
  default     = null
  type = object({
    origins         = set(string)
    methods         = optional(set(string), ["GET", "POST", "PUT", "PATCH", "DELETE"])
    headers         = optional(set(string), ["authorization", "content-type"])
    expose_headers  = optional(set(string), [])
    credentials     = optional(bool, false)
    max_age_seconds = optional(number, 300)
  })

  validation {
    condition     = var.cors == null ? true : length(var.cors.origins) > 0 && alltrue([for origin in var.cors.origins : can(regex("^(\\*|https?://(\\*|[^/?#@\\s]+))$", origin))])
    error_message = "cors.origins must be at least one, such as https://www.example.com: a scheme and a host, without a path or an ending slash."
  }

  validation {
    condition     = var.cors == null ? true : !(var.cors.credentials && length(setintersection(var.cors.origins, ["*", "https://*", "http://*"])) > 0)
    error_message = "cors.credentials must be false where cors.origins has a *: else any web page could call in the name of its visitor."
  }

  validation {
    condition     = var.cors == null ? true : var.cors.max_age_seconds >= 0 && var.cors.max_age_seconds <= 86400
    error_message = "cors.max_age_seconds must be from 0 to 86400, a day."
  }
}

variable "log_retention_days" {
  description = "How long the access log is kept."
  type        = number
  nullable    = false
  default     = 365
}
