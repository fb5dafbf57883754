output "application" {
  description = "What the platform's root needs of this service, for its variable services."
  value       = module.bootstrap.application
}

output "endpoint" {
  description = "URL of the HTTP API."
  value       = module.http.endpoint
}

output "queue_url" {
  description = "Where messages that create users are sent to."
  value       = module.queue.url
}

output "failed_messages" {
  description = "Name of the queue of messages that failed for good."
  value       = module.queue.failed
}
