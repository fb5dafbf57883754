resource "aws_iam_role" "main" {
  name_prefix = "${substr(var.name, 0, 37)}-" # of at most 38; a role's name is taken in every region

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# Named by what it lets log in to: led elsewhere, the function holds two of them until nothing uses the old one.
resource "aws_iam_role_policy" "log_in" {
  name = "log-in-${strrev(substr(strrev(replace(local.logs_in_to, "/[^\\w+=,.@-]/", "-")), 0, 120))}" # of at most 128
  role = aws_iam_role.main.id

  policy = jsonencode({ Version = "2012-10-17", Statement = local.log_in_statements[var.auth] })

  # Terraform treats all that the connection stands on alike: a path or a proxy that is taken out goes last.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_iam_role_policy" "runtime" {
  # checkov:skip=CKV_AWS_355:The calls that manage network interfaces, and X-Ray's, know no resource to name.
  # checkov:skip=CKV_AWS_290:The calls that manage network interfaces know no resource, and are denied to the function's own code.
  name = "runtime"
  role = aws_iam_role.main.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(var.runtime.tracing ? local.tracing_statements : [], [
      {
        Sid      = "KeepDeadLetters"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.dead_letters.arn
      },
      {
        Sid      = "WriteLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.main.arn}:*"
      },
      {
        Sid      = "StandInVpc"
        Effect   = "Allow"
        Action   = local.network_interface_actions
        Resource = "*"
      },
      {
        # Lambda itself needs them to attach the function to the VPC; the function's code does not.
        Sid       = "NotByTheCode"
        Effect    = "Deny"
        Action    = local.network_interface_actions
        Resource  = "*"
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}" } }
      },
    ])
  })
}

locals {
  # db-…, prx-… or the secret's name
  logs_in_to = split(":", var.auth == "iam" ? var.connection.rds_db_arn_prefix : var.application.secret_arn)[6]

  log_in_statements = {
    iam = [
      {
        Sid      = "LogInAsApplication"
        Effect   = "Allow"
        Action   = "rds-db:connect"
        Resource = "${var.connection.rds_db_arn_prefix}/${local.user}"
      },
    ]
    secret = [
      {
        Sid      = "ReadSecret"
        Effect   = "Allow"
        Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
        Resource = var.application.secret_arn
      },
      {
        Sid       = "UseItsKey"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = var.application.key_arn
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }
      },
    ]
  }

  tracing_statements = [
    {
      Sid      = "Trace"
      Effect   = "Allow"
      Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      Resource = "*"
    },
  ]

  network_interface_actions = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
  ]
}
