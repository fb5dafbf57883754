variable "name" {
  description = "Name of the queue."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,73}$", var.name))
    error_message = "name must be 1 to 73 letters, digits, hyphens and underscores: SQS takes 80, and -failed comes after it."
  }
}

variable "function" {
  description = "The function module's output alias, which gets the messages."
  nullable    = false
  type = object({
    arn                  = string
    role                 = string
    timeout_seconds      = number
    reserved_concurrency = optional(number)
  })
}

variable "maximum_concurrency" {
  description = "Batches that the function works on at once, a part of its reserved_concurrency."
  type        = number
  nullable    = false

  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000 && floor(var.maximum_concurrency) == var.maximum_concurrency
    error_message = "maximum_concurrency must be a whole number from 2 to 1000: Lambda polls a queue for no fewer than 2 at once."
  }

  validation {
    condition     = var.maximum_concurrency <= coalesce(var.function.reserved_concurrency, var.maximum_concurrency)
    error_message = "maximum_concurrency ${var.maximum_concurrency} is above the function's reserved_concurrency ${coalesce(var.function.reserved_concurrency, 0)}: Lambda would throttle what is beyond, and count each try as a receive. Choose a lower maximum_concurrency, or a higher reserved_concurrency, which needs a connection for each."
  }
}

variable "batch" {
  description = "Messages that one invocation gets at most, and how long Lambda gathers them."
  nullable    = false
  default     = {}
  type = object({
    size           = optional(number, 10)
    window_seconds = optional(number, 0)
  })

  validation {
    condition     = var.batch.size >= 1 && var.batch.size <= 10000 && floor(var.batch.size) == var.batch.size
    error_message = "batch.size must be a whole number from 1 to 10000."
  }

  validation {
    condition     = var.batch.window_seconds >= 0 && var.batch.window_seconds <= 300 && floor(var.batch.window_seconds) == var.batch.window_seconds
    error_message = "batch.window_seconds must be a whole number from 0 to 300."
  }

  validation {
    condition     = var.batch.size <= 10 || var.batch.window_seconds >= 1
    error_message = "batch.window_seconds must be at least 1 where batch.size is above 10: one poll brings 10 messages."
  }
}

variable "max_receives" {
  description = "How often a message is tried before it goes to the queue of failed ones."
  type        = number
  nullable    = false
  default     = 5

  validation {
    condition     = var.max_receives >= 5 && var.max_receives <= 1000 && floor(var.max_receives) == var.max_receives
    error_message = "max_receives must be a whole number from 5 to 1000: with fewer than 5 a message would count as failed only because the function was busy."
  }
}

variable "retention_days" {
  description = "How long a message waits for the function. Failed ones are kept until they are 14 days old."
  type        = number
  nullable    = false
  default     = 4

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 13
    error_message = "retention_days must be from 1 to 13: a failed message keeps its age, and SQS deletes it after 14 days."
  }
}

variable "key_arn" {
  description = "KMS key of the messages. Null: SQS's own. Who sends needs kms:GenerateDataKey and kms:Decrypt on it."
  type        = string
  default     = null

  validation {
    condition     = var.key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.key_arn))
    error_message = "key_arn must be the ARN of a KMS key, arn:…:kms:…:key/…: a policy on an alias would allow nothing."
  }
}
