# Fill in first, here as the default: with the credentials of another account Terraform then stops before it does anything.
# The local stack gives its own account.
variable "allowed_account_ids" {
  description = "AWS accounts that this environment may be in. Empty: any."
  type        = set(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for id in var.allowed_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "allowed_account_ids must be AWS account numbers of 12 digits each."
  }
}

provider "aws" {
  region              = "us-east-1"
  allowed_account_ids = var.allowed_account_ids

  default_tags {
    tags = {
      Environment = "dev"
      ManagedBy   = "terraform"
    }
  }
}
