"""An environment as Terraform's state, AWS and its own functions describe it. Each is asked once, when first needed."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.account import Place, place
from tools.database import Database, find
from tools.declaration import declaration
from tools.outputs import values

T = TypeVar("T")

# The outputs of a root, by what they name.
FUNCTION, BOOTSTRAP, PROXY, DATABASE = "function_arn", "bootstrap_arn", "proxy", "database_identifier"

DIAGNOSE_FUNCTION = {"lambda_postgres": "diagnose"}
DIAGNOSE_BOOTSTRAP = {"action": "diagnose"}
MARK = "DB_DIAGNOSE"  # of a function whose handler answers DIAGNOSE_FUNCTION; another one would take it for work

_TERRAFORM_SECONDS = 60
_CAPACITY_WITHIN = timedelta(minutes=10)  # CloudWatch is some minutes late
_CONFIG = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 2}, max_pool_connections=20)


class NotJudged(Exception):  # noqa: N818 (an answer, not a fault)
    """What a check needs is not to be had, for a reason that another layer's check tells."""


class Gone(NotJudged):
    """It is in the state, but not in AWS."""


class StateUnreadable(NotJudged):
    """Terraform did not give its state."""


class once(Generic[T]):  # noqa: N801 (used as a decorator)
    """A property that is asked for once, whichever thread comes first; an error is kept as an answer is."""

    def __init__(self, ask: Callable[[Any], T]) -> None:
        self._ask = ask

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, site: Any, owner: type | None = None) -> T:
        with site.guard:
            lock = site.locks.setdefault(self._name, threading.Lock())
        with lock:
            if self._name not in site.known:
                try:
                    site.known[self._name] = (self._ask(site), None)
                except Exception as error:
                    site.known[self._name] = (None, error)
        answer, failure = site.known[self._name]
        if failure is not None:
            raise failure
        return answer  # type: ignore[no-any-return]


class Site:
    """One environment."""

    def __init__(self, root: Path, terraform: Sequence[str]) -> None:
        self.root = root
        self.environment = root.name
        self.guard = threading.RLock()
        self.locks: dict[str, threading.Lock] = {}
        self.known: dict[str, tuple[Any, Exception | None]] = {}
        self._terraform = terraform
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return the client of a service in the environment's region."""
        region = self.region
        with self.guard:  # a session makes one client at a time
            if service not in self._clients:
                self._clients[service] = boto3.client(service, region_name=region, config=_CONFIG)
            return self._clients[service]

    # --- Terraform ---

    @once
    def place(self) -> Place:
        return place(self.root)

    @once
    def state(self) -> dict[str, Any]:
        command = [*self._terraform, "state", "pull"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TERRAFORM_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StateUnreadable(str(error)) from error
        if done.returncode:
            lines = [line.strip("│╷╵ ") for line in done.stderr.splitlines()]
            raise StateUnreadable(next((line for line in lines if line.startswith("Error")), "Terraform failed"))
        return json.loads(done.stdout) if done.stdout.strip() else {}

    @once
    def outputs(self) -> dict[str, Any]:
        return values(json.dumps(self.state.get("outputs", {})))

    @property
    def region(self) -> str | None:
        """The region of the function, else the provider's."""
        arn = str(self.known_output(FUNCTION) or "")
        return arn.split(":")[3] if arn.startswith("arn:") else self.place.region

    def known_output(self, name: str) -> Any:
        try:
            return self.outputs.get(name)
        except NotJudged:
            return None

    def output(self, name: str) -> str:
        """Return an output; NotJudged where the root has none of that name."""
        value = self.outputs.get(name)
        if not value:
            raise NotJudged(f"there is no output {name}.")
        return str(value)

    def known_view(self, look: str) -> dict[str, Any]:
        """Return what `view` or `database_view` gave; {} where it gave nothing, for a reason that others tell."""
        try:
            return dict(getattr(self, look))
        except (NotJudged, BotoCoreError, ClientError):
            return {}

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Return the attributes of each resource of a type that Terraform manages."""
        return [
            instance["attributes"]
            for resource in self.state.get("resources", [])
            if resource["mode"] == "managed" and resource["type"] == kind
            for instance in resource["instances"]
        ]

    # --- AWS ---

    @once
    def function(self) -> dict[str, Any]:
        """The version in use."""
        return self._function(self.output(FUNCTION))

    @once
    def bootstrap(self) -> dict[str, Any]:
        return self._function(self.output(BOOTSTRAP))

    @once
    def database(self) -> Database:
        """The instance or the cluster, as the state says; where it is another root's, as AWS says."""
        name = self.output(DATABASE)
        cluster = self._of_the_state(name)
        word = "cluster" if cluster else "instance"
        return _found(f"the {word} {name}", lambda: find(self.client("rds"), name, cluster=cluster))

    @once
    def capacity(self) -> float | None:
        """ACU that the writer had when CloudWatch last saw it; None of what has a class, or was not seen."""
        writer = self.database.writer
        if self.database.capacity is None or writer is None:
            return None
        now = datetime.now(UTC)
        seen = self.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/RDS",
            MetricName="ServerlessDatabaseCapacity",
            Dimensions=[{"Name": "DBInstanceIdentifier", "Value": writer["DBInstanceIdentifier"]}],
            StartTime=now - _CAPACITY_WITHIN,
            EndTime=now,
            Period=60,
            Statistics=["Average"],
        )["Datapoints"]
        return float(max(seen, key=lambda point: point["Timestamp"])["Average"]) if seen else None

    @property
    def paused(self) -> bool:
        """Whether the database was paused when CloudWatch last saw it; False where that cannot be asked."""
        try:
            return self.capacity == 0
        except (NotJudged, BotoCoreError, ClientError):
            return False

    @once
    def proxy(self) -> dict[str, Any] | None:
        """The proxy, or None where the environment has none."""
        name = self.outputs.get(PROXY)
        if not name:
            return None
        rds = self.client("rds")
        return dict(_found(f"the proxy {name}", lambda: rds.describe_db_proxies(DBProxyName=name)["DBProxies"][0]))

    @once
    def reserved_concurrency(self) -> int | None:
        found = self.client("lambda").get_function_concurrency(FunctionName=name_of(self.output(FUNCTION)))
        reserved = found.get("ReservedConcurrentExecutions")
        return None if reserved is None else int(reserved)

    # --- from inside the VPC ---

    @once
    def view(self) -> dict[str, Any]:
        """What the function sees of its way to the database."""
        if MARK not in variables(self.function):
            raise NotJudged(
                f"{self.function['FunctionName']} has no {MARK}, so it is not asked: see docs/library.md#diagnosis."
            )
        if (own := declaration(self.root)) and not Path(own["FUNCTION"], "diagnosis.py").exists():
            raise NotJudged(
                f"{own['FUNCTION']} has no diagnosis.py, so it is not asked: see docs/functions.md#diagnosis."
            )
        return self._ask(self.output(FUNCTION), self.function, DIAGNOSE_FUNCTION)

    @once
    def database_view(self) -> dict[str, Any]:
        """What the bootstrap function sees of the database, its users and its migrations."""
        return self._ask(self.output(BOOTSTRAP), self.bootstrap, DIAGNOSE_BOOTSTRAP)

    def _ask(self, arn: str, configuration: dict[str, Any], event: object) -> dict[str, Any]:
        name, state = configuration["FunctionName"], configuration.get("State", "Active")
        if state != "Active":
            raise NotJudged(f"{name} is {state}.")
        try:
            answer = self.client("lambda").invoke(FunctionName=arn, Payload=json.dumps(event))
        except ClientError as error:
            raise NotJudged(f"{name} was not invoked: {error}") from error
        found = json.load(answer["Payload"])
        if "FunctionError" in answer:
            kind, message = found.get("errorType", ""), found.get("errorMessage", "")
            raise FunctionFailed(name, str(kind), str(message))
        if not isinstance(found, dict) or not ({"settings", "host", "failed"} & found.keys()):
            raise NotJudged(f"{name} does not know the diagnostic action: deploy its code of this tree.")
        return found | ({"reason": str(found["reason"]).rstrip(". ")} if "reason" in found else {})

    def _of_the_state(self, name: str) -> bool | None:
        """Tell whether the state has a cluster of this name; None where it has neither that nor an instance."""
        for kind, argument in (("aws_rds_cluster", "cluster_identifier"), ("aws_db_instance", "identifier")):
            if any(attributes.get(argument) == name for attributes in self.of_type(kind)):
                return kind == "aws_rds_cluster"
        return None

    def _function(self, arn: str) -> dict[str, Any]:
        functions = self.client("lambda")
        return dict(
            _found(f"the function {name_of(arn)}", lambda: functions.get_function_configuration(FunctionName=arn))
        )


class FunctionFailed(NotJudged):
    """The function was invoked and failed."""

    def __init__(self, name: str, kind: str, message: str) -> None:
        super().__init__(f"{name} failed: {kind}: {message}".rstrip(": "))
        self.kind = kind
        self.timed_out = "timed out" in message.lower()


def name_of(arn: str) -> str:
    """Return the name in a function's ARN, with or without an alias."""
    return arn.split(":")[6]


def variables(function: dict[str, Any]) -> dict[str, str]:
    return dict(function.get("Environment", {}).get("Variables", {}))


def security_groups(function: dict[str, Any]) -> list[str]:
    return list(function.get("VpcConfig", {}).get("SecurityGroupIds", []))


def _found(what: str, call: Callable[[], T]) -> T:
    """Return what a call describes; Gone where AWS does not know it."""
    try:
        return call()
    except ClientError as error:
        if "NotFound" in error.response["Error"]["Code"]:
            raise Gone(f"{what} is in the state, but not in AWS.") from error
        raise
