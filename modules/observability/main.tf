locals {
  partition = var.network.location.partition
  region    = var.network.location.region
  account   = var.network.location.account

  alarms = merge(local.function_alarms, local.proxy_alarms, local.database_alarms, local.cluster_alarms, local.bootstrap_alarms, local.api_alarms, local.queue_alarms)

  actions = var.topic_arns != null ? var.topic_arns : [for topic in aws_sns_topic.own : topic.arn]
}

# A whole makes the alarm one on a share in percent: metric / whole. Where the whole is 0 there is no share, and the point
# is missing; where it is below the least, the share counts as 0.
resource "aws_cloudwatch_metric_alarm" "main" {
  for_each = { for name, alarm in local.alarms : name => alarm if alarm.threshold != null }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.means} ${each.value.do} See docs/operations.md#alarm-${each.value.heading}."
  comparison_operator = each.value.below ? "LessThanThreshold" : "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  datapoints_to_alarm = each.value.minutes[0]
  evaluation_periods  = each.value.minutes[1]
  treat_missing_data  = each.value.missing

  namespace          = each.value.whole == null ? each.value.namespace : null
  metric_name        = each.value.whole == null ? each.value.metric : null
  dimensions         = each.value.whole == null ? each.value.dimensions : null
  statistic          = each.value.whole == null && !startswith(each.value.statistic, "p") ? each.value.statistic : null
  extended_statistic = each.value.whole == null && startswith(each.value.statistic, "p") ? each.value.statistic : null
  period             = each.value.whole == null ? 60 : null

  dynamic "metric_query" {
    for_each = each.value.whole == null ? {} : { part = each.value.metric, whole = each.value.whole }

    content {
      id          = metric_query.key
      return_data = false

      metric {
        namespace   = each.value.namespace
        metric_name = metric_query.value
        dimensions  = each.value.dimensions
        stat        = metric_query.key == "whole" ? coalesce(each.value.whole_statistic, each.value.statistic) : each.value.statistic
        period      = 60
      }
    }
  }

  dynamic "metric_query" {
    for_each = each.value.whole == null ? {} : { share = each.value.least == null ? "100 * part / whole" : "IF(whole >= ${each.value.least}, 100 * part / whole, 0)" }

    content {
      id          = metric_query.key
      expression  = metric_query.value
      label       = "${each.value.metric} in percent of ${each.value.whole}"
      return_data = true
    }
  }

  alarm_actions = local.actions
  ok_actions    = local.actions
}

locals {
  # What most alarms have in common. minutes: so many of so many.
  usual = {
    whole           = null
    whole_statistic = null # the metric's
    least           = null
    statistic       = "Sum"
    below           = false
    minutes         = [2, 5]
    missing         = "notBreaching" # nothing happened
  }

  alarm_name = { for key, alarm in aws_cloudwatch_metric_alarm.main : key => alarm.alarm_name }

  # A function fails, and something on its way to the database says why. Errors alone may be its own code's; a failed
  # connection that the library replaced in time concerns nobody.
  failing = [
    for label in local.function_labels : format(
      "(ALARM(\"%s\") AND (%s))",
      local.alarm_name["${label}-errors"],
      join(" OR ", [
        for key in concat(
          ["${label}-connect-failures", "${label}-pool-exhausted"],
          var.proxy == null ? [] : ["proxy-failed-logins", "proxy-failed-connections"],
        ) : "ALARM(\"${local.alarm_name[key]}\")"
      ]),
    )
  ]
}

resource "aws_cloudwatch_composite_alarm" "path_broken" {
  alarm_name        = "${var.name}-path-broken"
  alarm_description = "The database path is broken: a function fails and cannot connect, or the instance reports nothing. Look at the other alarms first: they say where. See docs/operations.md#alarm-path-broken."
  alarm_rule        = join(" OR ", concat(["ALARM(\"${local.alarm_name["database-silent"]}\")"], local.failing))
  alarm_actions     = local.actions
  ok_actions        = local.actions
}
