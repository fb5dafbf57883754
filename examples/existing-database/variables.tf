variable "identifier" {
  description = "Identifier of the RDS instance."
  type        = string
  nullable    = false
}

variable "max_connections" {
  description = "What SHOW max_connections says on the instance, by which the proxy's pool is reckoned."
  type        = number
  nullable    = false
}

variable "log_key_arn" {
  description = "KMS key of logs. Its policy must let CloudWatch Logs use it."
  type        = string
  nullable    = false
}

variable "database" {
  description = "Name of the database. Null: the one that the instance was made with."
  type        = string
  default     = null
}

variable "security_group_id" {
  description = "The instance's security group that gets the two rules. Null: the only one it has."
  type        = string
  default     = null
}

variable "master_secret_arn" {
  description = "Secret with the master user's username and password. Null: the one that RDS manages."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Subnets of the functions and the proxy, in the instance's VPC. Null: the instance's own."
  type        = set(string)
  default     = null
}

variable "application" {
  description = "The application's database user and its schema. adopt: take over a schema that is there, with what is in it."
  nullable    = false
  default     = {}
  type = object({
    user   = optional(string, "app")
    schema = optional(string, "app")
    adopt  = optional(bool, false)
  })
}
