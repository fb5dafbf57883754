# The state stays on this machine. A team keeps it in S3 instead, with a lock and encryption:
#
#   backend "s3" {
#     bucket       = "…"
#     key          = "app-dev/terraform.tfstate"
#     region       = "us-east-1"
#     encrypt      = true
#     use_lockfile = true
#   }
terraform {
  backend "local" {}
}
