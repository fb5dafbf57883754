"""A database, its bootstrap function, its proxy and a function on the local stack, made in seconds by API calls.

They are what the modules make, as far as logins matter; tests/terraform applies the modules themselves. A test file
that imports the fixture `deployment` has one of its own, with its schema and its users.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lambda_postgres import Keeper, Settings
from lambda_postgres.log import Log

from local.stack import REGION, Stack

OUTPUT = Path(__file__).parents[2] / "build" / "output"
USER = "app"


class Deployment:
    """One environment, `name`."""

    def __init__(self, stack: Stack, folder: Path, name: str) -> None:
        self.stack = stack
        self.name = name
        self.folder = folder
        self._group = self._security_group()
        self._role = self._make_role(
            "lambda",
            "ec2:CreateNetworkInterface",
            "logs:*",
            "rds-db:connect",
            "secretsmanager:DescribeSecret",
            "secretsmanager:GetSecretValue",
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        )
        instance = self.client("rds").create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t4g.micro",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="master",
            ManageMasterUserPassword=True,
            DBName="app",
            EnableIAMDatabaseAuthentication=True,
            VpcSecurityGroupIds=[self._group],
        )["DBInstance"]
        self.secret = self.client("secretsmanager").create_secret(Name=f"{name}-{USER}")["ARN"]
        self._layer = self.client("lambda").publish_layer_version(
            LayerName=name, Content={"ZipFile": (OUTPUT / "layer-x86_64.zip").read_bytes()}
        )["LayerVersionArn"]
        self._instance = self._connection(instance["Endpoint"]["Address"], f"rds-{REGION}.pem")
        self.direct = self._instance | {"PGUSER": f"{USER}_iam"}
        self._bootstrap_variables = self._instance | {
            "MASTER_SECRET_ARN": instance["MasterUserSecret"]["SecretArn"],
            "APPLICATION_SECRET_ARN": self.secret,
            "APPLICATION_SCHEMA": USER,
            "APPLICATION_USER": USER,
            "APPLICATION_IAM_USER": f"{USER}_iam",
        }
        self._bootstrap_variables.pop("PGUSER")
        self.bootstrap = ""

    def client(self, service: str) -> Any:
        return self.stack.client(service)

    def apply(self) -> dict[str, Any]:
        """Make the bootstrap function and let it make the users and the schema, as the module does."""
        self.bootstrap = self.make_function(f"{self.name}-bootstrap", self._bootstrap_variables, package="bootstrap")
        return self.invoke(self.bootstrap, {"action": "apply"})

    def make_proxy(self) -> dict[str, str]:
        """Make a proxy in front of the instance; return the variables that lead a function to it."""
        rds = self.client("rds")
        subnets = [subnet["SubnetId"] for subnet in self.client("ec2").describe_subnets()["Subnets"][:2]]
        proxy = rds.create_db_proxy(
            DBProxyName=self.name,
            EngineFamily="POSTGRESQL",
            Auth=[{"AuthScheme": "SECRETS", "IAMAuth": "REQUIRED", "SecretArn": self.secret}],
            RoleArn=self._make_role("rds", "secretsmanager:GetSecretValue"),
            VpcSubnetIds=subnets,
            VpcSecurityGroupIds=[self._group],
            RequireTLS=True,
        )["DBProxy"]
        rds.modify_db_proxy_target_group(
            DBProxyName=self.name,
            TargetGroupName="default",
            ConnectionPoolConfig={"MaxConnectionsPercent": 20, "ConnectionBorrowTimeout": 5},
        )
        rds.register_db_proxy_targets(DBProxyName=self.name, DBInstanceIdentifiers=[self.name])
        return self._connection(proxy["Endpoint"], "amazon-trust-services.pem") | {"DB_AUTH": "iam"}

    def by_secret(self) -> dict[str, str]:
        """Return the variables that let a function log in to the instance with the secret."""
        return self._instance | {"DB_AUTH": "secret", "DB_SECRET_ARN": self.secret}

    def make_function(self, name: str, variables: Mapping[str, str], *, package: str = "function") -> str:
        self.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="bootstrap.handler.handler" if package == "bootstrap" else "handler.handler",
            Role=self._role,
            Layers=[self._layer],
            Timeout=60,
            Code={"ZipFile": (OUTPUT / f"{package}.zip").read_bytes()},
            Environment={"Variables": dict(variables)},
            VpcConfig={"SubnetIds": [self._subnet()], "SecurityGroupIds": [self._group]},
        )
        return name

    def invoke(self, name: str, event: object = None) -> dict[str, Any]:
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        payload: dict[str, Any] = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise RuntimeError(f"{name}: {payload.get('errorMessage')}")
        return payload

    def rotate(self) -> str:
        """Rotate the user's secret in Secrets Manager's four steps; return the version that is now current."""
        arn = self.client("lambda").get_function_configuration(FunctionName=self.bootstrap)["FunctionArn"]
        done = self.client("secretsmanager").rotate_secret(SecretId=self.secret, RotationLambdaARN=arn)
        return str(done["VersionId"])

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self.stack.databases.servers[self.name].administrator("app") as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def refused_logins(self) -> int:
        """Count the passwords that the server did not take."""
        log = self.folder / "logs" / f"{self.name}.postgresql.log"
        return log.read_text().count("password authentication failed for user")

    def environment(self) -> dict[str, str]:
        """Return what a process needs to be a function with the function's role, credentials included."""
        session = self.client("sts").assume_role(RoleArn=self._role, RoleSessionName="load")["Credentials"]
        return {
            "AWS_ENDPOINT_URL": self.stack.url,
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["SessionToken"],
            "PGHOSTADDR": "127.0.0.1",
        }

    def keeper(self, variables: Mapping[str, str], log: Log | None = None) -> Keeper:
        """Make the library's connection as a function with these variables would have it, in this process."""
        way = json.loads((self.folder / "endpoints.json").read_text())[variables["PGHOST"]]
        local = {"PGPORT": str(way["port"]), "PGSSLROOTCERT": way["ca_file"], "AWS_REGION": REGION}
        return Keeper(Settings.from_environment({**variables, **local}), log=log)

    def _connection(self, host: str, ca_file: str) -> dict[str, str]:
        return {
            "PGHOST": host,
            "PGPORT": "5432",
            "PGDATABASE": "app",
            "PGUSER": USER,
            "PGSSLROOTCERT": f"/opt/certificates/{ca_file}",
            "DB_AUTH": "iam",
        }

    def _subnet(self) -> str:
        return str(self.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"])

    def _security_group(self) -> str:
        """Make one group for all: its members reach each other."""
        ec2 = self.client("ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        group: str = ec2.create_security_group(GroupName=self.name, Description=self.name, VpcId=vpc)["GroupId"]
        pair = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": group}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[pair])
        return group

    def _make_role(self, service: str, *actions: str) -> str:
        principal = {"Service": f"{service}.amazonaws.com"}
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
        grant = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        iam, role = self.client("iam"), f"{self.name}-{service}"
        made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=_policy(trust))
        iam.put_role_policy(RoleName=role, PolicyName="main", PolicyDocument=_policy(grant))
        return str(made["Role"]["Arn"])


def _policy(statement: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Counts(Log):
    """Counts what the library would log: connected, connect failed, connection lost."""

    def __init__(self) -> None:
        super().__init__()
        self.events: Counter[str] = Counter()

    def write(self, _level: str, event: str, **_: Any) -> None:  # type: ignore[override]
        self.events[event] += 1


class Load:
    """Work that is done over and over in threads while something else happens; failures are kept."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self._works: list[tuple[str, Callable[[], object]]] = []

    def add(self, name: str, work: Callable[[], object], *, threads: int = 1) -> None:
        self._works += [(name, work)] * threads

    @contextlib.contextmanager
    def going_on(self, *, pause_seconds: float = 0.08) -> Iterator[None]:
        over = threading.Event()

        def repeat(name: str, work: Callable[[], object]) -> None:
            while not over.is_set():
                try:
                    work()
                    self.done[name] += 1
                except Exception as error:
                    self.failures.append(f"{name}: {error!r}")
                time.sleep(pause_seconds)

        threads = [threading.Thread(target=repeat, args=work) for work in self._works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(20)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    if not (OUTPUT / "bootstrap.zip").exists():
        pytest.fail("Run make package first.")
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder) as stack, pytest.MonkeyPatch.context() as monkeypatch:
        deployment = Deployment(stack, folder, "app")
        for name, value in deployment.environment().items():
            monkeypatch.setenv(name, value)
        deployment.apply()
        yield deployment
