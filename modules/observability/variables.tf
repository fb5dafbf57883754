variable "name" {
  description = "Prefix of the alarms, the dashboard and the topic, such as app-prod. Changing it makes them anew."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-Za-z_-]{1,100}$", var.name))
    error_message = "name must be 1 to 100 letters, digits, hyphens and underscores."
  }
}

variable "network" {
  description = "The network module: the region and account that all stands in."
  nullable    = false
  type = object({
    location = object({ partition = string, region = string, account = string })
  })
}

variable "functions" {
  description = "Output monitoring of each function module whose way to the database this is."
  nullable    = false
  type = list(object({
    name                 = string
    timeout_seconds      = number
    reserved_concurrency = number
    dead_letter_queue    = string
  }))

  validation {
    condition     = length(var.functions) > 0 && length(distinct(var.functions[*].name)) == length(var.functions)
    error_message = "functions must be at least one, and each only once."
  }

  validation {
    condition     = length(var.functions) <= 10
    error_message = "functions must be at most 10: a dashboard shows the state of up to 100 alarms. Use one module for each group of functions."
  }
}

variable "apis" {
  description = "Output monitoring of each http module in front of these functions."
  nullable    = false
  default     = []
  type = list(object({
    name  = string
    id    = string
    stage = string
  }))

  validation {
    condition     = length(distinct(var.apis[*].name)) == length(var.apis)
    error_message = "apis must be each only once."
  }

  validation {
    condition     = 8 * length(var.functions) + 2 * length(concat(var.apis, var.queues)) <= 83
    error_message = "functions, apis and queues have ${8 * length(var.functions) + 2 * length(concat(var.apis, var.queues))} alarms together, and must have at most 83: a dashboard shows the state of up to 100. Use one module for each group."
  }
}

variable "queues" {
  description = "Output monitoring of each queue module that feeds these functions."
  nullable    = false
  default     = []
  type = list(object({
    name              = string
    failed            = string
    retries_seconds   = number
    retention_seconds = number
  }))

  validation {
    condition     = length(distinct(var.queues[*].name)) == length(var.queues)
    error_message = "queues must be each only once."
  }
}

variable "proxy" {
  description = "Output monitoring of the proxy module. Null: the functions connect directly."
  default     = null
  type = object({
    name                   = string
    pool_size              = number
    borrow_timeout_seconds = number
  })
}

variable "database" {
  description = "Output monitoring of the database module or the cluster module."
  nullable    = false
  type = object({
    identifier  = string
    max_clients = number
    memory_gib  = number
    storage_gib = number
    cluster = optional(object({
      readers    = number
      aurora     = bool
      serverless = bool
    }))
  })
}

variable "bootstrap" {
  description = "Output monitoring of the bootstrap module. Null: migrations and rotations are not watched."
  default     = null
  type        = object({ name = string })
}

variable "topic_arns" {
  description = "SNS topics that are told, at most 5. Null: one of its own, encrypted. Empty: nobody."
  type        = list(string)
  default     = null

  validation {
    condition     = alltrue([for arn in coalesce(var.topic_arns, []) : can(regex("^arn:[^:]+:sns:[^:]+:[0-9]{12}:[0-9A-Za-z_-]+$", arn))])
    error_message = "topic_arns must be ARNs of SNS topics, not of subscriptions."
  }

  validation {
    condition     = length(coalesce(var.topic_arns, [])) <= 5
    error_message = "topic_arns must be at most 5, as many as an alarm tells."
  }
}

variable "thresholds" {
  description = "From which value on each alarm is raised, counts for one minute. Null: computed from the settings of what is watched, as the README says."
  nullable    = false
  default     = {}
  type = object({
    error_percent       = optional(number, 5)
    throttles           = optional(number, 1)
    duration_ms         = optional(number)
    concurrency         = optional(number)
    event_age_seconds   = optional(number)
    dead_letters        = optional(number, 1)
    connect_failures    = optional(number, 1)
    pool_exhausted      = optional(number, 1)
    pinned_percent      = optional(number, 10)
    pool_percent        = optional(number, 70)
    borrow_latency_ms   = optional(number)
    failed_logins       = optional(number, 1)
    clients_without_tls = optional(number, 1)
    failed_connections  = optional(number, 1)
    cpu_percent         = optional(number, 90)
    free_storage_mib    = optional(number)
    free_memory_mib     = optional(number)
    connections         = optional(number)
    transaction_ids     = optional(number, 1000000000)
    bootstrap_errors    = optional(number, 1)
    reader_lag_ms       = optional(number)
    acu_percent         = optional(number, 90)
    least_requests      = optional(number, 10)
    latency_ms          = optional(number, 2500)
    message_age_seconds = optional(number)
    failed_messages     = optional(number, 1)

    server_error_percent  = optional(number, 5)
    writer_uptime_seconds = optional(number, 1)
  })

  validation {
    condition     = alltrue([for value in values(var.thresholds) : value == null ? true : value > 0])
    error_message = "thresholds must be above 0: ${join(", ", [for name, value in var.thresholds : name if value == null ? false : value <= 0])} would be raised for ever, or never."
  }

  validation {
    condition     = alltrue([for name, value in var.thresholds : coalesce(value, 1) <= 100 if endswith(name, "_percent")])
    error_message = "thresholds that end in _percent must be at most 100."
  }

  validation {
    condition     = alltrue([for f in var.functions : var.thresholds.duration_ms == null ? true : var.thresholds.duration_ms <= 1000 * f.timeout_seconds])
    error_message = "thresholds.duration_ms ${coalesce(var.thresholds.duration_ms, 0)} must be at most the timeout of each function, at which Lambda ends it: no duration is longer."
  }
}
