variable "services" {
  description = "Output application of each service's root, by service, kept in services.auto.tfvars.json."
  nullable    = false
  default     = {}
  type = map(object({
    user       = string
    secret_arn = string
    key_arn    = string
  }))
}
