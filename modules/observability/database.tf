locals {
  id      = var.database.identifier
  cluster = var.database.cluster

  # Of a cluster what is watched is whichever instance is the writer.
  watched        = local.cluster == null ? { DBInstanceIdentifier = local.id } : { DBClusterIdentifier = local.id, Role = "WRITER" }
  watched_series = flatten([for dimension, value in local.watched : [dimension, value]])

  # Missing data of a gauge says nothing about the gauge: the alarm shows INSUFFICIENT_DATA. `silent` tells of it.
  database_alarms = {
    for alarm, given in {
      silent = {
        means     = "The ${local.cluster == null ? "instance" : "writer of the cluster"} ${local.id} has reported nothing for 5 minutes: it is stopped, failing over for too long, or gone."
        do        = "Look at its state and its events in RDS."
        metric    = "CPUUtilization"
        statistic = "SampleCount"
        below     = true
        threshold = 1
        missing   = "breaching"
      }

      cpu = {
        means     = "The processors of ${local.id} are ${var.thresholds.cpu_percent} % busy or more."
        do        = "Performance Insights shows the statements; then a larger class."
        metric    = "CPUUtilization"
        threshold = var.thresholds.cpu_percent
      }

      storage = {
        means     = "${local.id} has less than ${floor(coalesce(local.free_storage_mib, 0))} MiB of storage left, and has not grown."
        do        = "Find what fills it: an old replication slot, long transactions, data. Then raise storage.max_gib."
        metric    = "FreeStorageSpace"
        statistic = "Minimum"
        below     = true
        threshold = local.free_storage_mib == null ? null : floor(local.free_storage_mib * pow(1024, 2))
      }

      memory = {
        means     = "${local.id} has less than ${floor(coalesce(local.free_memory_mib, 0))} MiB of memory left."
        do        = "Fewer connections, smaller work_mem, or a larger class, before PostgreSQL is killed."
        metric    = "FreeableMemory"
        below     = true
        threshold = local.free_memory_mib == null ? null : floor(local.free_memory_mib * pow(1024, 2))
        minutes   = [15, 15]
      }

      connections = {
        means     = "${local.id} has ${floor(local.connections)} connections or more of the ${var.database.max_clients} that it takes."
        do        = "pg_stat_activity shows who holds them. Lower reserved_concurrency, use the proxy, or take a larger class."
        metric    = "DatabaseConnections"
        threshold = local.connections
      }

      # The server stops taking writes at about 2.1E9.
      transaction-ids = {
        means     = "${local.id} has ${var.thresholds.transaction_ids} transaction ids in use: vacuum does not keep up."
        do        = "Find what holds vacuum back: a long transaction, a prepared transaction, a replication slot. Then VACUUM FREEZE the oldest tables."
        metric    = "MaximumUsedTransactionIDs"
        statistic = "Maximum"
        threshold = var.thresholds.transaction_ids
        minutes   = [1, 1]
      }
      } : "database-${alarm}" => merge(
      local.usual,
      { namespace = "AWS/RDS", dimensions = local.watched, heading = alarm },
      { statistic = "Average", minutes = [5, 5], missing = "missing" },
      given,
    )
  }

  # RDS grows the storage at a tenth free: half of that means that it does not.
  # Aurora's storage has no size that could be free.
  free_storage_mib = var.database.storage_gib == null ? null : coalesce(var.thresholds.free_storage_mib, 51.2 * var.database.storage_gib)
  free_memory_mib  = var.thresholds.free_memory_mib != null ? var.thresholds.free_memory_mib : var.database.memory_gib == null ? null : 51.2 * var.database.memory_gib

  # A proxy may fill its pool: then half of what is left for all others.
  connections = coalesce(
    var.thresholds.connections,
    var.proxy == null ? 0.9 * var.database.max_clients : (var.database.max_clients + try(var.proxy.pool_size, 0)) / 2,
  )

  # Errors, which Lambda counts, and not a filter on the log: what runs into the timeout or out of memory writes no line.
  # Whether it was a migration or a rotation, the log line says; an apply that migrates shows its failure itself.
  bootstrap_alarms = {
    for key, b in var.bootstrap == null ? {} : { bootstrap-errors = var.bootstrap } : key => merge(local.usual, {
      means      = "A migration or the rotation of a password failed in ${b.name}."
      do         = "The log line \"failed\" says which (action) and why. Until a rotation succeeds the old password stays in use."
      heading    = "bootstrap-errors"
      namespace  = "AWS/Lambda"
      dimensions = { FunctionName = b.name }
      metric     = "Errors"
      threshold  = var.thresholds.bootstrap_errors
      minutes    = [1, 1]
    })
  }

  # Aurora's readers share the storage, and lag by milliseconds. The flow control of a Multi-AZ cluster delays the writer
  # from 2 minutes on.
  reader_lag_ms = local.cluster == null ? null : coalesce(var.thresholds.reader_lag_ms, local.cluster.aurora ? 1000 : 60000)

  cluster_alarms = merge([
    for c in local.cluster == null ? [] : [local.cluster] : {
      for alarm, given in {
        reader-lag = {
          means      = "A reader of ${local.id} is ${local.reader_lag_ms} ms or more behind the writer."
          do         = "Lead reads that must be fresh to the writer; look for long transactions on the readers and for a burst of writes."
          metric     = c.aurora ? "AuroraReplicaLagMaximum" : "ReplicaLag"
          dimensions = c.aurora ? { DBClusterIdentifier = local.id } : { DBClusterIdentifier = local.id, Role = "READER" }
          statistic  = "Maximum"
          threshold  = c.readers == 0 ? null : c.aurora ? local.reader_lag_ms : local.reader_lag_ms / 1000
        }

        acu = {
          means     = "The writer of ${local.id} uses ${var.thresholds.acu_percent} % of capacity.max_acu or more: soon it grows no further."
          do        = "Performance Insights or pg_stat_activity show the statements; then a larger capacity.max_acu."
          metric    = "ACUUtilization"
          threshold = c.serverless ? var.thresholds.acu_percent : null
        }

        failover = {
          means     = "The writer of ${local.id} has been up for less than ${var.thresholds.writer_uptime_seconds} s for two minutes: a failover is not over, or fails."
          do        = "The events of the cluster in RDS say what failed; writes fail until a writer answers."
          metric    = "EngineUptime"
          below     = true
          threshold = var.thresholds.writer_uptime_seconds
          minutes   = [2, 2]
        }
        } : "cluster-${alarm}" => merge(
        local.usual,
        { namespace = "AWS/RDS", dimensions = local.watched, heading = alarm },
        { statistic = "Average", minutes = [5, 5], missing = "missing" },
        given,
      )
    }
  ]...)
}
