variable "name" {
  description = "Name of the proxy. Changing it creates the new proxy before deleting the old one, but does not wait for its target."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z](-?[a-zA-Z0-9]+)*$", var.name)) && length(var.name) <= 63
    error_message = "name must be letters, digits and single hyphens, begin with a letter, and have at most 63 characters."
  }
}

variable "network" {
  description = "The network module: where the proxy stands."
  nullable    = false
  type = object({
    subnet_ids         = list(string)
    security_group_ids = map(string)
    log_key_arn        = string
    location           = object({ partition = string, region = string, account = string })
    free_addresses     = optional(number)
  })

  validation {
    condition     = contains(keys(var.network.security_group_ids), var.tier)
    error_message = "network.security_group_ids has no tier ${var.tier}, only ${join(", ", keys(var.network.security_group_ids))}. Put the proxy on a path of the network, or give its tier as tier."
  }

  validation {
    condition     = !contains(["ap-east-2", "ap-southeast-6"], var.network.location.region)
    error_message = "network is in ${var.network.location.region}, which has no RDS Proxy. Connect without a proxy, or choose another Region."
  }
}

variable "tier" {
  description = "Tier of the network that the proxy belongs to."
  type        = string
  nullable    = false
  default     = "proxy"
}

variable "database" {
  description = "The database module or the cluster module: whose connections are shared."
  nullable    = false
  type = object({
    identifier         = string
    resource_id        = optional(string)
    instance_class     = optional(string)
    iam_authentication = optional(bool, true)
    connection = object({
      database       = string
      max_clients    = number
      resume_seconds = optional(number, 0)
    })
    cluster = optional(object({
      readers          = number
      postgres_version = number
      aurora           = bool
      serverless       = bool
    }))
  })

  validation {
    condition     = var.database.connection.resume_seconds == 0
    error_message = "database has capacity.min_acu 0, but never pauses behind a proxy, which keeps a connection to every instance. Give it at least 0.5, or connect without a proxy."
  }

  validation {
    condition     = var.database.cluster == null ? true : contains([16, 17], var.database.cluster.postgres_version)
    error_message = "database has postgres_version ${try(var.database.cluster.postgres_version, 0)}, which RDS Proxy does not run with on clusters: it takes 16 and 17."
  }
}

variable "applications" {
  description = "The application of each bootstrap module: with its secret the proxy logs in to the instance as its user."
  nullable    = false
  type = list(object({
    user       = string
    secret_arn = string
    key_arn    = string
  }))

  validation {
    condition     = length(var.applications) >= 1 && length(var.applications) <= 200
    error_message = "applications must be 1 to 200, and here are ${length(var.applications)}: a proxy logs in with at least one secret and takes at most 200. For more applications make another proxy."
  }

  validation {
    condition     = length(distinct(var.applications[*].user)) == length(var.applications)
    error_message = "applications must not have the user ${join(", ", [for user, given in { for application in var.applications : application.user => true... } : user if length(given) > 1])} more than once: the proxy finds the secret by the user. Leave an application that is listed twice out; give a second one another application.user in its bootstrap module."
  }
}

variable "auth" {
  description = "How clients log in to the proxy. iam: with a token. secret: with the password of the application's secret, which RDS allows only when the instance has no IAM authentication."
  type        = string
  nullable    = false
  default     = "iam"

  validation {
    condition     = contains(["iam", "secret"], var.auth)
    error_message = "auth must be iam or secret."
  }

  validation {
    condition     = var.auth == "iam" || !var.database.iam_authentication
    error_message = "auth = \"secret\" needs a database with iam_authentication = false: while the instance has it, RDS lets clients of its proxies log in with IAM only."
  }
}

variable "pool" {
  description = "How the proxy shares the database's connections among its clients."
  nullable    = false
  default     = {}
  type = object({
    max_percent            = optional(number, 90)
    max_idle_percent       = optional(number, 45)
    borrow_timeout_seconds = optional(number, 5)
    init_query             = optional(string)
  })

  validation {
    condition     = var.pool.max_percent >= 1 && var.pool.max_percent <= 100
    error_message = "pool.max_percent must be from 1 to 100."
  }

  validation {
    condition     = var.pool.max_idle_percent >= 0 && var.pool.max_idle_percent <= var.pool.max_percent
    error_message = "pool.max_idle_percent must not be greater than pool.max_percent, nor negative."
  }

  validation {
    condition     = var.pool.borrow_timeout_seconds >= 1 && var.pool.borrow_timeout_seconds <= 300
    error_message = "pool.borrow_timeout_seconds must be from 1 to 300: with 0 the pool could not grow for those who wait."
  }

  # What is harmless by its value, such as max_token = 4096, is left out of the words.
  validation {
    condition     = !can(regex(local.secret_value, coalesce(var.pool.init_query, "-"))) && !anytrue([for word in regexall("[0-9A-Za-z_]+", replace(coalesce(var.pool.init_query, "-"), "/(?i)[0-9a-z_.]+\\s*(=|\\bto\\b)\\s*'?(${join("|", local.secret_rule.harmless_values)})'?\\s*(;|$)/", " ")) : can(regex(local.secret_name, word))])
    error_message = "pool.init_query seems to hold a secret: whoever may describe the proxy reads it, and so does whoever has the state. Use it for SET ROLE and the like."
  }
}

variable "shares" {
  description = "Reserved concurrency of every function that connects through the proxy, by the function's name. Null: each is held alone."
  type        = map(number)
  default     = null

  validation {
    condition     = alltrue([for share in values(coalesce(var.shares, {})) : share >= 1 && floor(share) == share])
    error_message = "shares must be whole numbers of at least 1."
  }
}

variable "endpoints" {
  description = "Further endpoints by name: one for another VPC gets that VPC's subnet_ids and security_group_ids; else it stands beside the proxy's own, in all its zones."
  nullable    = false
  default     = {}
  type = map(object({
    target_role        = optional(string, "READ_WRITE")
    subnet_ids         = optional(list(string))
    security_group_ids = optional(list(string))
  }))

  validation {
    condition     = var.database.cluster != null || alltrue([for endpoint in values(var.endpoints) : endpoint.target_role == "READ_WRITE"])
    error_message = "endpoints must have target_role READ_WRITE: READ_ONLY leads to readers, which Aurora and Multi-AZ clusters have; the standby of an instance answers nobody."
  }

  validation {
    condition     = alltrue([for endpoint in values(var.endpoints) : contains(["READ_ONLY", "READ_WRITE"], endpoint.target_role)])
    error_message = "endpoints must have target_role READ_WRITE or READ_ONLY."
  }

  validation {
    condition     = try(var.database.cluster.readers, 1) > 0 || alltrue([for endpoint in values(var.endpoints) : endpoint.target_role == "READ_WRITE"])
    error_message = "endpoints must have target_role READ_WRITE: the cluster has no reader, and requests to a READ_ONLY endpoint would fail at once. Give it readers."
  }

  validation {
    condition     = length(var.endpoints) <= 20 && alltrue([for name in keys(var.endpoints) : can(regex("^[a-zA-Z](-?[a-zA-Z0-9]+)*$", name))])
    error_message = "endpoints must be at most 20, named by letters, digits and single hyphens."
  }

  validation {
    condition     = alltrue([for endpoint in values(var.endpoints) : (endpoint.subnet_ids == null) == (endpoint.security_group_ids == null)])
    error_message = "endpoints must have both subnet_ids and security_group_ids, or neither: a group belongs to the VPC of the subnets."
  }
}

variable "debug_logging" {
  description = "Whether the proxy logs what it does, with the text of every statement and so with what stands in it. RDS turns it off after 24 hours."
  type        = bool
  nullable    = false
  default     = false
}

variable "idle_client_timeout_seconds" {
  description = "After this long without a query a client is disconnected."
  type        = number
  nullable    = false
  default     = 1800

  validation {
    condition     = var.idle_client_timeout_seconds >= 60 && var.idle_client_timeout_seconds <= 28800
    error_message = "idle_client_timeout_seconds must be from 60 to 28800 (8 hours)."
  }
}

variable "log_retention_days" {
  description = "How long the proxy's log is kept."
  type        = number
  nullable    = false
  default     = 365
}
