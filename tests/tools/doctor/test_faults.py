"""Faults made on purpose in a deployed prod: the doctor names the broken layer first, and nothing once it is mended.

One stack, applied once. FAULTS is the table: what is broken, and the layer that must be named.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.ec2.models import ec2_backends

import local.certificates
from local.certificates import Certificates
from local.stack import ACCOUNT, REGION, Stack
from tests import plans
from tests.waiting import await_that
from tools.account import Place, place
from tools.doctor.__main__ import main as doctor
from tools.doctor.layers import LAYERS, Layer, examine
from tools.doctor.site import Site, once
from tools.status import PARTS

ROOT = Path(__file__).parents[3]
NAME = "app-prod"
ALIAS = "live"
WRONG = "correct-horse-battery-staple"  # a password

Break = Callable[["World"], AbstractContextManager[None]]
FAULTS: dict[str, tuple[str, Break]] = {}


def fault(layer: str) -> Callable[[Callable[[World], Iterator[None]]], Break]:
    """Put a fault into the table: a generator that breaks something, yields, and mends it."""

    def enter(work: Callable[[World], Iterator[None]]) -> Break:
        made = contextmanager(work)
        FAULTS[work.__name__] = (layer, made)
        return made

    return enter


class World:
    """A deployed prod, and the means to break it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.root = ROOT / "terraform" / "prod"
        self.terraform = ["terraform", f"-chdir={self.root}"]
        self.variables = stack.variables() | {"TF_DATA_DIR": str(stack.folder_of("prod") / ".terraform")}
        self.state: Path | None = None  # what Terraform shall say instead of the truth
        self.asks_terraform = False  # else its state is read from the file, which is quicker
        self._clients: dict[str, Any] = {}

    def apply(self) -> None:
        backend = f"-backend-config=path={self._state_file}"
        for command in (["init", "-reconfigure", "-lockfile=readonly", backend], ["apply", "-auto-approve"]):
            if command[0] == "apply":  # init has held the provider against the lock file
                self.variables |= plans.relay(self.stack.environment(), self.root).variables
            done = subprocess.run(
                [*self.terraform, *command, "-no-color"], cwd=ROOT, env=self.stack.environment() | self.variables,
                stdin=subprocess.DEVNULL, text=True, capture_output=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.stack.client(service)
        return self._clients[service]

    def examined(self) -> list[Layer]:
        file = self.state or self._state_file
        return examine(_Site(self.root, self.terraform if self.asks_terraform else ["sh", "-c", f"cat {file}"]))

    def deployed(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._state_file.read_text())
        return state

    @property
    def _state_file(self) -> Path:
        return self.stack.folder_of("prod") / "terraform.tfstate"

    @contextmanager
    def says(self, state: dict[str, Any]) -> Iterator[None]:
        """Let Terraform give another state."""
        self.state = self._state_file.with_name("state.json")
        self.state.write_text(json.dumps(state))
        yield
        self.state = None

    def output(self, name: str) -> Any:
        return self.deployed()["outputs"][name]["value"]

    def cold(self) -> None:
        """End what runs, so that the next invocations begin anew."""
        for name in (NAME, f"{NAME}-bootstrap"):
            self.stack.function_deleted(name)

    @contextmanager
    def version(self, *, code: dict[str, Any] | None = None, **variables: str | None) -> Iterator[None]:
        """Lead the alias to a version with another code or other variables (None: without it)."""
        functions = self.client("lambda")
        before = functions.get_function_configuration(FunctionName=NAME)["Environment"]["Variables"]
        given = {name: value for name, value in {**before, **variables}.items() if value is not None}
        functions.update_function_configuration(FunctionName=NAME, Environment={"Variables": given})
        if code:
            functions.update_function_code(FunctionName=NAME, **code)
        number = functions.publish_version(FunctionName=NAME, Description=str(time.monotonic()))["Version"]
        functions.update_alias(FunctionName=NAME, Name=ALIAS, FunctionVersion=number)
        try:
            yield
        finally:
            functions.update_alias(FunctionName=NAME, Name=ALIAS, FunctionVersion="1")
            functions.update_function_configuration(FunctionName=NAME, Environment={"Variables": before})

    @contextmanager
    def without_rule(self, tier: str, way: str, to_or_from: str) -> Iterator[None]:
        """Take a security group's rule away that names another tier."""
        ec2, groups = self.client("ec2"), self.groups()
        ids = {group["GroupName"]: group["GroupId"] for group in groups}
        group = next(group for group in groups if group["GroupName"] == f"{NAME}-{tier}")
        [rule] = [
            {**permission, "UserIdGroupPairs": [pair]}
            for permission in group["IpPermissionsEgress" if way == "egress" else "IpPermissions"]
            for pair in permission["UserIdGroupPairs"]
            if pair["GroupId"] == ids[f"{NAME}-{to_or_from}"]
        ]
        getattr(ec2, f"revoke_security_group_{way}")(GroupId=group["GroupId"], IpPermissions=[rule])
        self.cold()
        try:
            yield
        finally:
            getattr(ec2, f"authorize_security_group_{way}")(GroupId=group["GroupId"], IpPermissions=[rule])
            self.cold()

    def groups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client("ec2").describe_security_groups()["SecurityGroups"]
        return [group for group in found if group["GroupName"].startswith(f"{NAME}-")]

    @contextmanager
    def policy(self, role: str, name: str, change: Callable[[str], str | None]) -> Iterator[None]:
        """Change a role's policy, or delete it where `change` gives None."""
        iam = self.client("iam")
        [policy] = [found for found in iam.list_role_policies(RoleName=role)["PolicyNames"] if found.startswith(name)]
        given = {"RoleName": role, "PolicyName": policy}
        before = json.dumps(iam.get_role_policy(**given)["PolicyDocument"])
        after = change(before)
        assert after != before
        if after is None:
            iam.delete_role_policy(**given)
        else:
            iam.put_role_policy(**given, PolicyDocument=after)
        try:
            yield
        finally:
            iam.put_role_policy(**given, PolicyDocument=before)

    def role_of(self, thing: str) -> str:
        if thing == "proxy":
            arn = self.client("rds").describe_db_proxies(DBProxyName=NAME)["DBProxies"][0]["RoleArn"]
        else:
            arn = self.client("lambda").get_function_configuration(FunctionName=thing)["Role"]
        return str(arn).rsplit("/", 1)[1]

    @contextmanager
    def secret(self, arn: str, value: str) -> Iterator[None]:
        secrets = self.client("secretsmanager")
        before = secrets.get_secret_value(SecretId=arn)["SecretString"]
        secrets.put_secret_value(SecretId=arn, SecretString=value)
        try:
            yield
        finally:
            secrets.put_secret_value(SecretId=arn, SecretString=before)

    def sql(self, *statements: str) -> None:
        with self.stack.databases.servers[NAME].administrator("app") as cursor:
            for statement in statements:
                cursor.execute(statement)

    @contextmanager
    def certificate(self, certificates: Certificates) -> Iterator[None]:
        """Let the proxy present another certificate."""
        host = self.client("rds").describe_db_proxies(DBProxyName=NAME)["DBProxies"][0]["Endpoint"]
        listener = self.stack.proxies.listener(NAME)
        presented = certificates.host("proxy", host)
        listener._tls.load_cert_chain(presented.certificate, presented.key)
        try:
            yield
        finally:
            own = self.stack._certificates.host("proxy", host)
            listener._tls.load_cert_chain(own.certificate, own.key)

    @contextmanager
    def metric(self, name: str, value: float, **dimensions: str) -> Iterator[None]:
        """Publish a point of a metric beside what a proxy at rest has."""
        cloudwatch = self.client("cloudwatch")
        at_rest = {
            "DatabaseConnections": 10.0,
            "DatabaseConnectionsCurrentlySessionPinned": 0.0,
            "MaxDatabaseConnectionsAllowed": 100.0,
        }
        given = [
            {
                "MetricName": metric,
                "Dimensions": [{"Name": key, "Value": of} for key, of in {"ProxyName": NAME, **more}.items()],
                "Timestamp": datetime.now(UTC).replace(second=0, microsecond=0),
                "Value": amount,
            }
            for metric, (amount, more) in (
                {known: (amount, {}) for known, amount in at_rest.items()} | {name: (value, dimensions)}
            ).items()
        ]
        cloudwatch.put_metric_data(Namespace="AWS/RDS", MetricData=given)
        yield
        _forget_metrics()


class _Site(Site):
    """A site whose clients and place are made once for all tests: models and parsers take a while to load."""

    places: ClassVar[dict[str, Place]] = {}
    made: ClassVar[dict[tuple[str, str], Any]] = {}

    @once
    def place(self) -> Place:
        key = os.environ["AWS_ACCESS_KEY_ID"]
        if key not in self.places:
            self.places[key] = place(self.root)
        return self.places[key]

    def client(self, service: str) -> Any:
        key = (service, boto3.Session().get_credentials().access_key)
        with self.guard:
            if key not in self.made:
                self.made[key] = super().client(service)
            return self.made[key]


def _forget_metrics() -> None:
    from moto.cloudwatch.models import cloudwatch_backends  # noqa: PLC0415

    cloudwatch_backends[ACCOUNT][REGION].__dict__.pop("metric_store", None)


# --- account, state, quota ---


@fault("account")
def credentials_that_nobody_knows(_: World) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield
    boto3.DEFAULT_SESSION = None


@fault("account")
def credentials_of_another_account(world: World) -> Iterator[None]:
    text = json.dumps(world.deployed()).replace(f":{ACCOUNT}:", ":111122223333:")
    with world.says(json.loads(text)):
        yield


@fault("state")
def a_backend_that_is_not_set_up(world: World) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_DATA_DIR", str(world.stack.folder_of("none")))
        world.asks_terraform = True
        yield
    world.asks_terraform = False


@fault("state")
def an_empty_state(world: World) -> Iterator[None]:
    with world.says({}):
        yield


@fault("state")
def a_resource_that_an_apply_left_half_made(world: World) -> Iterator[None]:
    state = world.deployed()
    next(part for part in state["resources"] if part["type"] == "aws_sqs_queue")["instances"][0]["status"] = "tainted"
    with world.says(state):
        yield


@fault("state")
def an_alias_that_somebody_deleted(world: World) -> Iterator[None]:
    functions = world.client("lambda")
    functions.delete_alias(FunctionName=NAME, Name=ALIAS)
    yield
    functions.create_alias(FunctionName=NAME, Name=ALIAS, FunctionVersion="1")


@fault("quota")
def a_function_that_is_switched_off(world: World) -> Iterator[None]:
    functions = world.client("lambda")
    functions.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=0)
    yield
    functions.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=400)


@fault("quota")
def a_reservation_that_is_gone(world: World) -> Iterator[None]:
    functions = world.client("lambda")
    functions.delete_function_concurrency(FunctionName=NAME)
    yield
    functions.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=400)


@fault("quota")
def an_account_with_too_small_a_limit(world: World) -> Iterator[None]:
    world.stack.control_plane.limit_concurrency(450)
    yield
    world.stack.control_plane.limit_concurrency(1000)


# --- functions ---


@fault("function")
def a_function_that_fell_idle(world: World) -> Iterator[None]:
    world.stack.control_plane.fall_idle(NAME)
    yield
    for qualifier in ("$LATEST", ALIAS):
        await_that(lambda qualifier=qualifier: _wakes(world, qualifier))


def _wakes(world: World, qualifier: str) -> bool:
    try:
        world.client("lambda").invoke(FunctionName=NAME, Qualifier=qualifier, Payload=b"{}")
    except ClientError:
        return False
    return True


@fault("function")
def a_layer_of_another_architecture(world: World) -> Iterator[None]:
    functions = world.client("lambda")
    [layer] = functions.get_function_configuration(FunctionName=NAME)["Layers"]
    other = functions.publish_layer_version(
        LayerName=NAME,
        Content={"ZipFile": (ROOT / "build" / "output" / "layer-x86_64.zip").read_bytes()},
        CompatibleArchitectures=["arm64"],
    )
    functions.update_function_configuration(FunctionName=NAME, Layers=[other["LayerVersionArn"]])
    with world.version():
        yield
    functions.update_function_configuration(FunctionName=NAME, Layers=[layer["Arn"]])


@fault("function")
def code_that_does_not_start(world: World) -> Iterator[None]:
    broken = BytesIO()
    with zipfile.ZipFile(broken, "w") as file:
        file.writestr("handler.py", "import nothing_of_this_name")
    with world.version(code={"ZipFile": broken.getvalue()}):
        yield
    content = (ROOT / "build" / "output" / "function.zip").read_bytes()
    world.client("lambda").update_function_code(FunctionName=NAME, ZipFile=content)


@fault("function")
def a_variable_that_is_missing(world: World) -> Iterator[None]:
    with world.version(PGDATABASE=None):
        yield


# --- network ---


@fault("subnets")
def a_subnet_that_is_full(world: World) -> Iterator[None]:
    name = world.client("rds").describe_db_proxies(DBProxyName=NAME)["DBProxies"][0]["VpcSubnetIds"][0]
    subnet = ec2_backends[ACCOUNT][REGION].get_subnet(name)
    before = subnet._available_ip_addresses
    subnet._available_ip_addresses = before - subnet.available_ip_address_count + 3
    yield
    subnet._available_ip_addresses = before


@fault("rules")
def no_egress_rule_of_the_function(world: World) -> Iterator[None]:
    with world.without_rule("function", "egress", "proxy"):
        yield


@fault("rules")
def no_ingress_rule_of_the_proxy(world: World) -> Iterator[None]:
    with world.without_rule("proxy", "ingress", "function"):
        yield


@fault("rules")
def no_ingress_rule_of_the_database(world: World) -> Iterator[None]:
    with world.without_rule("database", "ingress", "bootstrap"):
        yield


@fault("rules")
def no_way_to_secrets_manager(world: World) -> Iterator[None]:
    with world.without_rule("secretsmanager", "ingress", "bootstrap"):
        yield


@fault("dns")
def a_function_that_is_led_to_another_host(world: World) -> Iterator[None]:
    with world.version(PGHOST="app-old.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"):
        yield


# --- the door: certificate and token ---


@fault("tls")
def an_endpoint_that_does_not_answer(world: World) -> Iterator[None]:
    """As behind a network ACL, which no security group shows."""
    host = world.client("rds").describe_db_proxies(DBProxyName=NAME)["DBProxies"][0]["Endpoint"]
    before = world.stack.endpoints.get(host)
    mute: Any = SimpleNamespace(port=world.stack.endpoints.nowhere)
    world.stack.endpoints.lead({host: replace(before, listener=mute)})
    world.cold()
    yield
    world.stack.endpoints.lead({host: before})
    world.cold()


@fault("tls")
def a_certificate_of_another_authority(world: World) -> Iterator[None]:
    with world.certificate(Certificates(world.stack.folder_of("prod") / "others")):
        yield


@fault("tls")
def the_roots_of_the_instance_for_the_proxy(world: World) -> Iterator[None]:
    with world.version(PGSSLROOTCERT=f"/opt/certificates/rds-{REGION}.pem"):
        yield


@fault("certificate")
def a_certificate_that_runs_out(world: World) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local.certificates, "_LIFETIME", timedelta(days=9))
        with world.certificate(world.stack._certificates):
            patch.undo()
            yield


@fault("token")
def a_token_of_another_time(world: World) -> Iterator[None]:
    """As when the clock of an execution environment stood still."""
    login = world.stack.proxies.listener(NAME)._token_login
    before, login._clock = login._clock, lambda: datetime.now(UTC) + timedelta(minutes=20)
    yield
    login._clock = before


@fault("policy")
def a_grant_on_another_proxy(world: World) -> Iterator[None]:
    identifier = world.output("connection")["rds_db_arn_prefix"].rsplit(":", 1)[1]
    with world.policy(world.role_of(NAME), "log-in-", lambda text: text.replace(identifier, "prx-another")):
        yield


@fault("policy")
def no_grant_at_all(world: World) -> Iterator[None]:
    with world.policy(world.role_of(NAME), "log-in-", lambda _: None):
        yield


@fault("policy")
def a_proxy_that_may_not_read_its_secret(world: World) -> Iterator[None]:
    with world.policy(world.role_of("proxy"), "read-secret", lambda _: None):
        yield


# --- the database behind ---


@fault("target")
def a_proxy_without_its_target(world: World) -> Iterator[None]:
    rds = world.client("rds")
    rds.deregister_db_proxy_targets(DBProxyName=NAME, DBInstanceIdentifiers=[NAME])
    yield
    rds.register_db_proxy_targets(DBProxyName=NAME, DBInstanceIdentifiers=[NAME])
    await_that(lambda: _target(world)["State"] == "AVAILABLE", 20)


@fault("target")
def a_target_that_waits_for_capacity(world: World) -> Iterator[None]:
    rds, stack = world.client("rds"), world.stack
    rds.deregister_db_proxy_targets(DBProxyName=NAME, DBInstanceIdentifiers=[NAME])
    stack.proxies.target_delay_seconds = 600
    rds.register_db_proxy_targets(DBProxyName=NAME, DBInstanceIdentifiers=[NAME])
    yield
    stack.proxies.target_delay_seconds = 0
    rds.deregister_db_proxy_targets(DBProxyName=NAME, DBInstanceIdentifiers=[NAME])
    rds.register_db_proxy_targets(DBProxyName=NAME, DBInstanceIdentifiers=[NAME])
    await_that(lambda: _target(world)["State"] == "AVAILABLE", 20)


def _target(world: World) -> dict[str, str]:
    [target] = world.client("rds").describe_db_proxy_targets(DBProxyName=NAME)["Targets"]
    return dict(target["TargetHealth"])


@fault("target")
def an_instance_that_was_stopped(world: World) -> Iterator[None]:
    rds = world.client("rds")
    rds.stop_db_instance(DBInstanceIdentifier=NAME)
    yield
    rds.start_db_instance(DBInstanceIdentifier=NAME)


# --- secrets and roles ---


@fault("secret")
def another_password_in_the_secret(world: World) -> Iterator[None]:
    with world.secret(world.output("application")["secret_arn"], json.dumps({"username": "app", "password": WRONG})):
        yield


@fault("secret")
def another_user_in_the_secret(world: World) -> Iterator[None]:
    with world.secret(world.output("application")["secret_arn"], json.dumps({"username": "else", "password": WRONG})):
        yield


@fault("secret")
def another_password_in_the_master_s_secret(world: World) -> Iterator[None]:
    arn = world.output("master_secret_arn")
    user = json.loads(world.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])["username"]
    with world.secret(arn, json.dumps({"username": user, "password": WRONG})):
        yield


@fault("secret")
def a_key_that_is_disabled(world: World) -> Iterator[None]:
    kms, secret = world.client("kms"), world.output("application")["secret_arn"]
    key = world.client("secretsmanager").describe_secret(SecretId=secret)["KmsKeyId"]
    kms.disable_key(KeyId=key)
    yield
    kms.enable_key(KeyId=key)


@fault("login")
def a_password_user_with_rds_iam(world: World) -> Iterator[None]:
    world.sql("GRANT rds_iam TO app")
    yield
    world.sql("REVOKE rds_iam FROM app")


@fault("login")
def a_token_user_without_rds_iam(world: World) -> Iterator[None]:
    world.sql("UPDATE pg_auth_members SET roleid = 'pg_monitor'::regrole WHERE roleid = 'rds_iam'::regrole"
              " AND member = 'app_iam'::regrole")  # fmt: skip
    yield
    world.sql("UPDATE pg_auth_members SET roleid = 'rds_iam'::regrole WHERE roleid = 'pg_monitor'::regrole"
              " AND member = 'app_iam'::regrole")  # fmt: skip


@fault("login")
def an_instance_that_takes_no_tokens(world: World) -> Iterator[None]:
    rds = world.client("rds")
    given = {"DBInstanceIdentifier": NAME, "ApplyImmediately": True}
    rds.modify_db_instance(**given, EnableIAMDatabaseAuthentication=False)
    yield
    rds.modify_db_instance(**given, EnableIAMDatabaseAuthentication=True)


@fault("migrations")
def a_migration_that_is_not_applied(world: World) -> Iterator[None]:
    world.sql("ALTER TABLE bootstrap.app RENAME TO app_away")
    yield
    world.sql("ALTER TABLE bootstrap.app_away RENAME TO app")


@fault("migrations")
def a_migration_whose_file_has_changed(world: World) -> Iterator[None]:
    world.sql("UPDATE bootstrap.app SET checksum = 'x' || checksum")
    yield
    world.sql("UPDATE bootstrap.app SET checksum = substr(checksum, 2)")


@fault("migrations")
def a_role_that_somebody_changed(world: World) -> Iterator[None]:
    world.sql("ALTER ROLE app RESET statement_timeout")
    yield
    world.sql("ALTER ROLE app SET statement_timeout = '30s'")


# --- what waits, and what was seen ---


@fault("pending")
def a_change_that_waits_for_the_window(world: World) -> Iterator[None]:
    rds = world.client("rds")
    rds.modify_db_instance(DBInstanceIdentifier=NAME, DBInstanceClass="db.m7g.xlarge", ApplyImmediately=False)
    yield
    rds.modify_db_instance(DBInstanceIdentifier=NAME, DBInstanceClass="db.m7g.large", ApplyImmediately=False)


@fault("pending")
def a_parameter_that_waits_for_a_reboot(world: World) -> Iterator[None]:
    rds = world.client("rds")
    [instance] = rds.describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"]
    group = instance["DBParameterGroups"][0]["DBParameterGroupName"]

    def set_to(value: str) -> None:
        parameter = {"ParameterName": "max_connections", "ParameterValue": value, "ApplyMethod": "pending-reboot"}
        rds.modify_db_parameter_group(DBParameterGroupName=group, Parameters=[parameter])

    [before] = [
        parameter["ParameterValue"]
        for page in rds.get_paginator("describe_db_parameters").paginate(DBParameterGroupName=group)
        for parameter in page["Parameters"]
        if parameter["ParameterName"] == "max_connections"
    ]
    set_to("100")
    yield
    set_to(before)


@fault("sessions")
def sessions_that_pin(world: World) -> Iterator[None]:
    with world.metric("DatabaseConnectionsCurrentlySessionPinned", 4):
        yield


@fault("sessions")
def a_pool_that_is_nearly_full(world: World) -> Iterator[None]:
    with world.metric("DatabaseConnections", 90):
        yield


@fault("sessions")
def clients_that_waited_in_vain(world: World) -> Iterator[None]:
    more = {"TargetGroup": "default", "TargetRole": "READ_WRITE"}
    with world.metric("DatabaseConnectionsBorrowRequestsAborted", 3, **more):
        yield


@fault("sessions")
def a_pool_that_is_full_now(world: World) -> Iterator[None]:
    """The proxy answers that none of its connections became free in time."""
    pool = world.stack.proxies.listener(NAME).pool
    before = pool.settings
    pool.settings = replace(before, borrow_timeout_seconds=0.2)
    lend, pool.lend = pool.lend, lambda _key, waiter: pool._wait(waiter())  # type: ignore[method-assign,assignment]
    grow, pool._grow = pool._grow, lambda: None  # type: ignore[method-assign]
    world.cold()
    yield
    pool.settings, pool.lend, pool._grow = before, lend, grow  # type: ignore[method-assign]


@fault("alarms")
def an_alarm_in_alarm(world: World) -> Iterator[None]:
    cloudwatch = world.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="watching",
        AlarmDescription="Free some storage.",
        Namespace="AWS/RDS",
        MetricName="FreeStorageSpace",
        Dimensions=[{"Name": "DBInstanceIdentifier", "Value": NAME}],
        Statistic="Minimum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
    )
    cloudwatch.set_alarm_state(AlarmName="watching", StateValue="ALARM", StateReason="as told")
    yield
    cloudwatch.delete_alarms(AlarmNames=["watching"])


# --- the tests ---


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Deploy prod as make does, once."""
    if shutil.which("terraform") is None:
        pytest.fail("Terraform is missing: install 1.11 or newer.")
    with Stack(tmp_path_factory.mktemp("stack"), metric_minute_seconds=86_400) as stack:  # none passes meanwhile
        world = World(stack)
        world.apply()
        yield world


@pytest.fixture(autouse=True)
def led_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in world.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def make(stack: Stack, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", target, "ENV=prod", *arguments], cwd=ROOT, env=stack.environment(), stdin=subprocess.DEVNULL,
        text=True, capture_output=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def by_make(world: World) -> subprocess.CompletedProcess[str]:
    return make(world.stack, "doctor", "JSON=1")


def test_make_prints_json(by_make: subprocess.CompletedProcess[str]) -> None:
    document = json.loads(by_make.stdout)
    assert by_make.returncode == 0, by_make.stdout
    assert [layer["layer"] for layer in document["layers"]] == list(LAYERS)
    assert document["wrong"] == 0
    assert document["seconds"] > 0


def test_the_exit_status_counts_the_wrong_layers(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with world.says({}):
        assert world.state is not None
        status = doctor([str(world.root), "sh", "-c", f"cat {world.state}"])
    said = capsys.readouterr().out.splitlines()
    assert status == len([line for line in said if line.startswith("wrong")]) == 1
    assert len(said) == len(LAYERS) + 1


def test_status_is_one_screen(world: World) -> None:
    done = make(world.stack, "status")
    told = dict(line.split(maxsplit=1) for line in done.stdout.replace("connects to", "connects").splitlines()[1:])
    assert done.returncode == 0, done.stderr
    assert list(told) == [name.split()[0] for name in PARTS]
    assert told["function"].startswith(f"{NAME} version 1 of 20")
    assert told["connects"].endswith(":5432/app as app")
    assert re.fullmatch(r"\d+ of \d+ now", told["connections"])
    assert told["migration"].startswith("0001_users.sql at 20")
    assert "application 20" in told["rotation"]
    assert not any("unknown" in text for text in told.values()), told


def test_logs_hold_what_both_functions_wrote(world: World) -> None:
    done = make(world.stack, "logs")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\S+ function  .*\"event\": \"connected\"", done.stdout, re.MULTILINE)
    assert re.search(r"^\S+ bootstrap .*\"action\": \"diagnose\"", done.stdout, re.MULTILINE)


def named(layers: list[Layer], verdict: str) -> list[str]:
    return [layer.name for layer in layers if layer.finding.verdict == verdict]


def test_there_are_at_least_twenty_faults_in_all_layers() -> None:
    assert len(FAULTS) >= 20


@pytest.mark.parametrize("name", FAULTS)
def test_the_broken_layer_is_named_first(world: World, name: str) -> None:
    layer, broken = FAULTS[name]
    with broken(world):
        found = world.examined()
    said = "\n".join(f"{part.finding.verdict} {part.name}: {part.finding.text} {part.finding.fix}" for part in found)
    assert named(found, "wrong")[:1] == [layer], said
    [first] = [part.finding for part in found if part.name == layer]
    assert first.fix, said
    assert WRONG not in said


def test_what_is_mended_is_not_named(world: World) -> None:
    found = world.examined()
    said = "\n".join(f"{part.finding.verdict} {part.name}: {part.finding.text}" for part in found)
    assert named(found, "wrong") == [], said
    assert set(named(found, "unknown")) <= {"sessions", "alarms"}, said
