variable "deletion_protection" {
  description = "Protects the database from deletion. To destroy: apply with TF_VAR_deletion_protection=false, then destroy; a final snapshot is taken."
  type        = bool
  nullable    = false
  default     = true
}

variable "restore_from_snapshot" {
  description = "Snapshot to make the database from, when it is made."
  type        = string
  default     = null
}
