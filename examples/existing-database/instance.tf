# What the modules need of the instance, and what they are told of it.

data "aws_db_instance" "main" {
  db_instance_identifier = var.identifier

  lifecycle {
    postcondition {
      condition     = self.engine == "postgres"
      error_message = "identifier ${var.identifier} must be an instance of RDS for PostgreSQL, and its engine is ${self.engine}."
    }

    postcondition {
      condition     = coalesce(self.db_cluster_identifier, "-") == "-" && coalesce(self.replicate_source_db, "-") == "-"
      error_message = "identifier ${var.identifier} must be neither a member of a cluster nor a read replica: the bootstrap function writes. Name the instance that is written to."
    }

    postcondition {
      condition     = tonumber(split(".", self.engine_version)[0]) >= 14
      error_message = "The instance ${var.identifier} runs PostgreSQL ${self.engine_version}, and the bootstrap function needs 14 or newer. Upgrade it first."
    }

    postcondition {
      condition     = self.ca_cert_identifier != "rds-ca-2019"
      error_message = "The certificate of ${var.identifier} is of rds-ca-2019, which ended in 2024: no client could verify it. Change it to rds-ca-rsa2048-g1 first."
    }

    postcondition {
      condition     = var.database != null || coalesce(self.db_name, "-") != "-"
      error_message = "database must be given: the instance ${var.identifier} was made without one."
    }

    postcondition {
      condition     = var.master_secret_arn != null || length(coalesce(self.master_user_secret, [])) == 1
      error_message = "master_secret_arn must be given: RDS does not manage the master password of ${var.identifier}. Put {\"username\": …, \"password\": …} into a secret, or let RDS manage it."
    }

    postcondition {
      condition     = var.security_group_id != null ? contains(self.vpc_security_groups, var.security_group_id) : length(self.vpc_security_groups) == 1
      error_message = "security_group_id must be one of the groups of ${var.identifier}: ${join(", ", self.vpc_security_groups)}."
    }
  }
}

data "aws_db_subnet_group" "main" {
  name = data.aws_db_instance.main.db_subnet_group
}

data "aws_subnet" "main" {
  for_each = coalesce(var.subnet_ids, data.aws_db_subnet_group.main.subnet_ids)

  id = each.key

  lifecycle {
    postcondition {
      condition     = self.vpc_id == data.aws_db_subnet_group.main.vpc_id
      error_message = "subnet_ids must be in the VPC of the instance, ${data.aws_db_subnet_group.main.vpc_id}, and ${self.id} is in ${self.vpc_id}: security groups lead nowhere else."
    }

    postcondition {
      condition     = !contains(["use1-az3", "usw1-az2"], self.availability_zone_id)
      error_message = "subnet_ids must not have ${self.id}, which is in ${self.availability_zone_id}: RDS Proxy does not run there. Name the others."
    }
  }
}

# The bootstrap function reaches Secrets Manager through it. The plan stops where there is none.
data "aws_vpc_endpoint" "secretsmanager" {
  vpc_id       = data.aws_db_subnet_group.main.vpc_id
  service_name = "com.amazonaws.${local.arn[3]}.secretsmanager"

  lifecycle {
    postcondition {
      condition     = self.private_dns_enabled
      error_message = "The endpoint ${self.id} of Secrets Manager must have private DNS, or the function would not find it."
    }
  }
}

data "aws_secretsmanager_secret" "master" {
  arn = local.master_secret_arn
}

# That of the master secret; the application's secret gets the same.
data "aws_kms_key" "secrets" {
  key_id = coalesce(data.aws_secretsmanager_secret.master.kms_key_id, "alias/aws/secretsmanager")
}

locals {
  instance = data.aws_db_instance.main

  # arn:aws:rds:REGION:ACCOUNT:db:IDENTIFIER
  arn = split(":", local.instance.db_instance_arn)

  security_group_id = coalesce(var.security_group_id, local.instance.vpc_security_groups[0])
  master_secret_arn = var.master_secret_arn != null ? var.master_secret_arn : local.instance.master_user_secret[0].secret_arn

  network = {
    vpc_id             = data.aws_db_subnet_group.main.vpc_id
    subnet_ids         = keys(data.aws_subnet.main)
    security_group_ids = { for tier, group in aws_security_group.tier : tier => group.id }
    log_key_arn        = var.log_key_arn
    location           = { partition = local.arn[1], region = local.arn[3], account = local.arn[4] }
    free_addresses     = min(values(data.aws_subnet.main)[*].available_ip_address_count...)
  }

  database = {
    identifier        = local.instance.db_instance_identifier
    resource_id       = local.instance.resource_id
    instance_class    = local.instance.db_instance_class
    master_user       = local.instance.master_username
    master_secret_arn = local.master_secret_arn
    key_arn           = data.aws_kms_key.secrets.arn

    # Tokens are for the proxy, which logs in to the instance by password: it need not take any.
    iam_authentication = false

    connection = {
      host        = local.instance.address
      port        = local.instance.port
      database    = coalesce(var.database, local.instance.db_name)
      ca_file     = "rds-${local.arn[3]}.pem"
      max_clients = var.max_connections - 5 # PostgreSQL keeps three slots for superusers, RDS two.
    }
  }
}
