# Keeps the first name, because AWS cannot rename in place what is named after it.
resource "terraform_data" "name" {
  input = var.name

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = self.output == var.name
      error_message = "name cannot change: this queue was made as ${self.output}, not ${var.name}. Set it back. For another name add a second queue, move its senders there, and remove this one when it is empty."
    }
  }
}
