variable "name" {
  description = "Prefix of everything made here, such as app-prod."
  type        = string
  nullable    = false
}

variable "cidr" {
  description = "Addresses of the VPC. A subnet takes an eighth of them."
  type        = string
  nullable    = false
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]) >= 16, false)
    error_message = "cidr must be an IPv4 range of at most a /16, the largest that a VPC takes."
  }
}

variable "zone_ids" {
  description = "Two or three availability zones by id (use1-az1): a zone's name means another zone in every account. Append only, since a zone's place in the list is its subnet's place in the range."
  type        = list(string)
  nullable    = false

  validation {
    condition     = contains([2, 3], length(distinct(var.zone_ids))) && length(distinct(var.zone_ids)) == length(var.zone_ids)
    error_message = "zone_ids must be two or three different zones."
  }

  validation {
    condition     = alltrue([for zone in var.zone_ids : can(regex("^[a-z]+[0-9]+-az[0-9]+$", zone))])
    error_message = "zone_ids takes zone ids such as use1-az1, not zone names such as us-east-1a."
  }

  validation {
    condition     = !contains(flatten(var.paths), "proxy") || length(setintersection(var.zone_ids, ["use1-az3", "usw1-az2"])) == 0
    error_message = "zone_ids must not contain use1-az3 or usw1-az2 when a proxy is on a path: RDS Proxy does not run there."
  }
}

variable "paths" {
  description = "Who talks to whom over PostgreSQL, hop by hop: [[\"function\", \"proxy\", \"database\"]]. Each hop becomes a security group, each step a pair of rules, and nothing else is open."
  type        = list(list(string))
  nullable    = false

  validation {
    condition     = alltrue([for path in var.paths : length(path) >= 2 && length(distinct(path)) == length(path)])
    error_message = "paths must each name at least two different hops, from the client to the database."
  }
}

variable "endpoints" {
  description = "Interface endpoints by service, each with the hops that use it: { secretsmanager = [\"bootstrap\"] }."
  type        = map(set(string))
  nullable    = false
  default     = {}

  validation {
    condition     = alltrue([for users in values(var.endpoints) : length(setsubtract(users, flatten(var.paths))) == 0])
    error_message = "endpoints may be used only by hops that paths names."
  }
}

variable "endpoint_zone_ids" {
  description = "The zones in which endpoints stand; null means all of zone_ids. Each costs by the hour, and one serves the whole VPC."
  type        = set(string)
  default     = null

  validation {
    condition     = var.endpoint_zone_ids == null || length(setsubtract(coalesce(var.endpoint_zone_ids, []), var.zone_ids)) == 0
    error_message = "endpoint_zone_ids must be among zone_ids."
  }
}

variable "egress" {
  description = "A way out to the internet over HTTPS, for the hops that ask: { hops = [\"function\"] }, through one NAT gateway, or one a zone (nat = \"each_zone\"). Null: no way out, and no public subnet."
  default     = null
  type = object({
    hops = set(string)
    nat  = optional(string, "one")
  })

  validation {
    condition     = var.egress == null ? true : contains(["one", "each_zone"], var.egress.nat)
    error_message = "egress.nat must be one or each_zone."
  }

  validation {
    condition     = var.egress == null ? true : length(var.egress.hops) > 0 && length(setsubtract(var.egress.hops, local.clients)) == 0
    error_message = "egress.hops must be clients, the first hops of paths: a proxy or a database has no business on the internet."
  }
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
  nullable    = false
  default     = 365
}

variable "database_port" {
  description = "Port of the hop database, at which the database module makes its instance listen."
  type        = number
  nullable    = false
  default     = 5432

  validation {
    condition     = var.database_port >= 1150 && var.database_port <= 65535
    error_message = "database_port must be from 1150 to 65535, as RDS wants it."
  }
}
