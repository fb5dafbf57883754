# What stands in front of the functions: HTTP APIs and queues.
locals {
  api_labels   = { for api in var.apis : api.name => api.name == var.name ? "api" : "api-${api.name}" }
  queue_labels = { for queue in var.queues : queue.name => queue.name == var.name ? "queue" : "queue-${queue.name}" }

  api_alarms = merge([
    for api in var.apis : {
      for alarm, given in {
        # Each request publishes 5xx, 1 or 0. Of few requests one failure is a large share.
        server-errors = {
          means           = "At least ${var.thresholds.server_error_percent} % of the requests to the HTTP API ${api.name} are answered 5xx."
          do              = "Its access log says why, in functionError; where that is empty the function answered so itself, and its own log says why."
          metric          = "5xx"
          whole           = "Count"
          whole_statistic = "SampleCount"
          least           = var.thresholds.least_requests
          threshold       = var.thresholds.server_error_percent
        }

        latency = {
          means     = "Of the requests to the HTTP API ${api.name} one in ten takes ${var.thresholds.latency_ms} ms or more."
          do        = "Compare it with the function's duration: above it are cold starts; as long as it are slow statements and waiting for a connection."
          metric    = "Latency"
          statistic = "p90"
          threshold = var.thresholds.latency_ms
          minutes   = [5, 5]
        }
        } : "${local.api_labels[api.name]}-${alarm}" => merge(
        local.usual,
        { namespace = "AWS/ApiGateway", dimensions = { ApiId = api.id, Stage = api.stage }, heading = alarm },
        given,
      )
    }
  ]...)

  queue_alarms = merge([
    for queue in var.queues : {
      for alarm, given in {
        message-age = {
          means      = "The oldest message of the queue ${queue.name} waits ${floor(local.message_age_seconds[queue.name])} s or longer, more than its tries explain."
          do         = "Look for errors and throttles of its function, and whether its event source mapping is enabled; SQS deletes a message after ${floor(queue.retention_seconds / 3600)} hours."
          dimensions = { QueueName = queue.name }
          metric     = "ApproximateAgeOfOldestMessage"
          threshold  = local.message_age_seconds[queue.name]
          minutes    = [3, 5]
        }

        failed-messages = {
          means      = "Messages of the queue ${queue.name} failed for good and wait in the queue ${queue.failed}."
          do         = "Mend the cause, then move them back with aws sqs start-message-move-task, before they are 14 days old and deleted."
          dimensions = { QueueName = queue.failed }
          metric     = "ApproximateNumberOfMessagesVisible"
          threshold  = var.thresholds.failed_messages
          minutes    = [1, 1]
        }
        } : "${local.queue_labels[queue.name]}-${alarm}" => merge(
        local.usual,
        { namespace = "AWS/SQS", statistic = "Maximum", heading = alarm },
        given,
      )
    }
  ]...)

  # Half of the retention: what waits longer is soon lost, even where so many tries would take longer.
  message_age_seconds = {
    for queue in var.queues : queue.name => coalesce(var.thresholds.message_age_seconds, min(queue.retries_seconds, queue.retention_seconds / 2))
  }
}
