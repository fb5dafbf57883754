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
  description = "Ids of two or three availability zones, such as use1-az1. Only append: reordering changes every subnet's CIDR."
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
    condition     = length(local.proxies) == 0 || length(setintersection(var.zone_ids, ["use1-az3", "usw1-az2"])) == 0
    error_message = "zone_ids must not contain use1-az3 or usw1-az2 when a proxy (${join(", ", local.proxies)}) is on a path: RDS Proxy does not run there."
  }
}

variable "paths" {
  description = "Who connects to whom over PostgreSQL, tier by tier, such as [[\"function\", \"proxy\", \"database\"]]. A tier between two others is a proxy."
  type        = list(list(string))
  nullable    = false

  validation {
    condition     = alltrue([for path in var.paths : length(path) >= 2 && length(distinct(path)) == length(path)])
    error_message = "paths must each name at least two different tiers, from the client to the database."
  }

  validation {
    condition     = alltrue([for tier in flatten(var.paths) : can(regex("^[a-z][a-z0-9_]{0,30}$", tier))])
    error_message = "paths must name tiers by lower-case letters, digits and underscores, such as function or orders_proxy."
  }
}

variable "endpoints" {
  description = "Interface endpoints by service, each with the tiers that use it, such as { secretsmanager = [\"bootstrap\"] }."
  type        = map(set(string))
  nullable    = false
  default     = {}

  validation {
    condition     = alltrue([for users in values(var.endpoints) : length(setsubtract(users, flatten(var.paths))) == 0])
    error_message = "endpoints may be used only by tiers that paths names: ${join(", ", local.tiers)}."
  }

  validation {
    condition     = length(setintersection(keys(var.endpoints), local.tiers)) == 0
    error_message = "endpoints must not have the name of a tier: ${join(", ", setintersection(keys(var.endpoints), local.tiers))}. Rename that tier in paths."
  }
}

variable "endpoint_zone_ids" {
  description = "Zones of the endpoints, each paid by the hour; one serves the whole VPC. Null: all of zone_ids."
  type        = set(string)
  default     = null

  validation {
    condition     = var.endpoint_zone_ids == null || length(setsubtract(coalesce(var.endpoint_zone_ids, []), var.zone_ids)) == 0
    error_message = "endpoint_zone_ids must be among zone_ids."
  }
}

variable "egress" {
  description = "Tiers that reach the internet over HTTPS, through one NAT gateway or one in each_zone. Null: none."
  default     = null
  type = object({
    tiers = set(string)
    nat   = optional(string, "one")
  })

  validation {
    condition     = var.egress == null ? true : contains(["one", "each_zone"], var.egress.nat)
    error_message = "egress.nat must be one or each_zone."
  }

  validation {
    condition     = var.egress == null ? true : length(var.egress.tiers) > 0 && length(setsubtract(var.egress.tiers, local.clients)) == 0
    error_message = "egress.tiers must be clients, the first tiers of paths (${join(", ", local.clients)}): a proxy or a database has no business on the internet."
  }
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
  nullable    = false
  default     = 365
}

variable "database_port" {
  description = "Port of the databases, the last tiers of paths. A proxy always listens on 5432."
  type        = number
  nullable    = false
  default     = 5432

  validation {
    condition     = var.database_port >= 1150 && var.database_port <= 65535
    error_message = "database_port must be from 1150 to 65535, as RDS wants it."
  }
}
