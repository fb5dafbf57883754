# What the function is told, in its environment variables. Two versions: `real` has the secrets' ARNs. `longest` has the
# longest ARNs and names that there could be, so that a plan can measure it before there are any.
locals {
  environment = local.environments.real

  environments = {
    for version, given in {
      real = {
        host        = var.database.connection.host
        ca_file     = var.database.connection.ca_file
        master_arn  = var.database.master_secret_arn
        secret_arns = { for user in local.password_users : user => aws_secretsmanager_secret.login[user].arn }
      }
      longest = {
        host        = format("%128s", "")
        ca_file     = format("%30s", "")
        master_arn  = format("%120s", "") # its name is rds!db- and a UUID
        secret_arns = { for user in local.password_users : user => format("%${105 + length(var.name) + length(user)}s", "") }
      }
      } : version => merge(
      {
        PGHOST                 = given.host
        PGPORT                 = tostring(var.database.connection.port)
        PGDATABASE             = var.database.connection.database
        PGSSLROOTCERT          = "/opt/certificates/${given.ca_file}"
        MASTER_SECRET_ARN      = given.master_arn
        APPLICATION_SECRET_ARN = given.secret_arns[var.application.user]
        APPLICATION_USER       = var.application.user
        APPLICATION_SCHEMA     = var.application.schema
        APPLICATION_SETTINGS   = jsonencode(local.application_settings)
      },
      var.database.connection.resume_seconds == 0 ? {} : { PGCONNECT_TIMEOUT = tostring(10 + var.database.connection.resume_seconds) },
      local.iam_user == null ? {} : { APPLICATION_IAM_USER = local.iam_user },
      var.application.adopt ? { APPLICATION_ADOPT = "1" } : {},
      var.application.connection_limit == null ? {} : { APPLICATION_CONNECTION_LIMIT = tostring(var.application.connection_limit) },
      {
        FURTHER_USERS = jsonencode({
          for user, further in var.further_users : user => merge(
            { access = further.access, auth = further.auth, settings = further.settings },
            further.auth == "password" ? { secret_arn = given.secret_arns[user] } : {},
          )
        })
      },
    )
  }

  application_settings = merge(
    var.application.settings,
    var.application.statement_timeout_ms == null ? {} : { statement_timeout = "${var.application.statement_timeout_ms}ms" },
  )

  # Lambda measures the variables as one JSON object, whose bytes are three quarters of its base64.
  environment_bytes = floor(length(trim(base64encode(jsonencode(local.environments.longest)), "=")) * 3 / 4)
}
