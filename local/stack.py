"""The whole stack: the control plane, and behind it a real server, listener or process for what Terraform makes."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

from local.aws.account import Events, Instance, Member, Proxy
from local.aws.control_plane import ControlPlane
from local.certificates import Authority, Certificates
from local.databases import Databases
from local.endpoints import Endpoints
from local.lambda_runtime.function import FunctionVersion, Invocation
from local.lambda_runtime.layers import Layers, names_in
from local.lambda_runtime.runtime import LambdaRuntime
from local.loop import LoopThread
from local.monitoring import Monitoring, publish_queues
from local.postgres.installation import find_binaries
from local.postgres.server import Snapshot
from local.proxies import Proxies
from local.rds_proxy.server_connection import TargetHealth
from local.record import Record

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = "123456789012"
REGION = "us-east-1"
RUNTIME_PYTHON = ROOT / ".venv" / "runtime" / "bin" / "python"

_LOCAL_LAYER = "build/output/layer-local.zip"
# By analogy with what the Aurora user guide, rds-proxy-gdb, tells of an endpoint without a writer.
_NO_READER = "The target group doesn't have any associated read-only instances"
_CERTIFICATES_IN_LAYER = "/opt/certificates/"
_log = logging.getLogger(__name__)


class StackRunsError(Exception):
    """Another process serves a stack in this folder."""


class Stack(Events):
    """One AWS account on this machine, open from `with` to its end. Keeps its files in `folder`.

    On AWS a new target of a proxy is not AVAILABLE for minutes; here for `target_delay_seconds`. What takes CloudWatch
    a minute takes `metric_minute_seconds`. A cluster that fails over has no writer for `failover_seconds`, and its
    address leads to the old writer for `stale_address_seconds` more; both hold for clusters that are made afterwards.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        target_delay_seconds: float = 0,
        metric_minute_seconds: float = 60,
        failover_seconds: float = 0,
        stale_address_seconds: float = 0,
    ) -> None:
        self._folder = folder.resolve()
        self.record = Record(self._folder)
        self._port = port
        self._target_delay_seconds = target_delay_seconds
        self.metric_minute_seconds = metric_minute_seconds
        self._failover_seconds = failover_seconds
        self._stale_address_seconds = stale_address_seconds
        self._layers = Layers(RUNTIME_PYTHON, ROOT)
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            if not self.record.take():
                raise StackRunsError(f"A stack runs in {self._folder} already.")
            resources.callback(self.record.release)
            (self._folder / "logs").mkdir(exist_ok=True)
            certificates = self._folder / "certificates"
            resources.callback(shutil.rmtree, certificates, ignore_errors=True)
            self._certificates = Certificates(certificates)
            loop = LoopThread()
            resources.callback(loop.stop)
            self._control_plane = ControlPlane(self, metric_minute_seconds=self.metric_minute_seconds)
            self.endpoints = Endpoints(self._folder / "endpoints.json", self._certificates)
            self.databases = Databases(
                loop=loop.loop,
                log_folder=self._folder / "logs",
                certificates=self._certificates,
                directory=self._control_plane.iam,
                endpoints=self.endpoints,
                moved=self._moved,
                failover_seconds=self._failover_seconds,
                stale_address_seconds=self._stale_address_seconds,
            )
            self.proxies = Proxies(
                loop=loop.loop,
                certificates=self._certificates,
                iam=self._control_plane.iam,
                endpoints=self.endpoints,
                databases=self.databases,
                target_delay_seconds=self._target_delay_seconds,
            )
            resources.callback(self.databases.stop)
            resources.callback(self.endpoints.stop)
            self._control_plane.start(self._port)
            resources.callback(self._control_plane.stop)
            self._runtime = LambdaRuntime(
                python=RUNTIME_PYTHON,
                folder=self._folder,
                credentials=self._control_plane.functions.credentials_for,
                endpoint_url=self.url,
                prepare=self._lead_here,
                log=self._control_plane.functions.write_log,
                began=self._control_plane.functions.began,
            )
            resources.callback(self._runtime.stop)
            monitoring = Monitoring(self.metric_minute_seconds, self._minute_over)
            monitoring.start()
            resources.callback(monitoring.stop)
            self.record.write(self.variables())
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._resources.close()

    @property
    def control_plane(self) -> ControlPlane:
        """The account, for what a test does to it."""
        return self._control_plane

    @property
    def url(self) -> str:
        """The endpoint of every AWS API."""
        return self._control_plane.url

    def variables(self) -> dict[str, str]:
        """Return the environment variables that lead SDKs and Terraform here, and `make` to a state of its own."""
        key = self._control_plane.administrator
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        no_proxy = f"{others},127.0.0.1" if others else "127.0.0.1"
        return {
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "TF_VAR_allowed_account_ids": f'["{ACCOUNT}"]',
            "LOCAL_STACK": str(self._folder),
        }

    def environment(self) -> dict[str, str]:
        """Return this process's environment, led here, with none of the user's own AWS settings."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
        return own | self.variables()

    def client(self, service: str) -> Any:
        """Return a client of one service with the administrator's key."""
        key = self._control_plane.administrator
        return boto3.client(
            service, REGION,
            endpoint_url=self.url,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
        )  # fmt: skip

    def components(self) -> list[str]:
        """Say what stands in for what."""
        postgres = find_binaries()
        version = subprocess.run(
            [RUNTIME_PYTHON, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
        return [
            f"AWS control plane   moto at {self.url}",
            f"RDS instances       PostgreSQL {postgres.version} in {postgres.folder}",
            "RDS Proxy           a stand-in of this project (local/rds_proxy)",
            f"Lambda              awslambdaric on {version}{self._layers.note()}",
        ]

    def folder_of(self, environment: str) -> Path:
        """Return where make keeps the state of an environment of this stack."""
        folder = self._folder / environment
        folder.mkdir(exist_ok=True)
        return folder

    def logs(self) -> list[Path]:
        """Return the files that functions and servers have written to."""
        return sorted(path for path in (self._folder / "logs").rglob("*") if path.is_file())

    def running(self) -> list[str]:
        """Name the databases and proxies that run."""
        return [*self.databases.servers, *self.proxies.names()]

    def let_window_pass(self) -> None:
        """Make the changes that wait for the maintenance window."""
        self._control_plane.let_window_pass()

    def begin_lag(self, cluster: str, reader: str) -> None:
        """Let a reader show the data of this moment, until `end_lag`."""
        self.databases.cluster(cluster).begin_lag(reader)

    def end_lag(self, cluster: str, reader: str) -> None:
        """Let a reader follow the writer again; return when it shows what the writer has committed."""
        self.databases.cluster(cluster).end_lag(reader)

    def write_late_lines(self) -> list[str]:
        """Let RDS write the last lines of what was deleted; return the log groups that it makes again for them."""
        return self._control_plane.write_late_lines()

    def _moved(self, identifier: str) -> None:
        """Tell proxies of a database that has other servers."""
        self.proxies.follow(identifier)

    # --- what happens in the account ---

    def instance_created(self, instance: Instance) -> None:
        self.databases.create(instance)

    def instance_changed(self, instance: Instance) -> None:
        self.databases.change(instance)

    def instance_restarted(self, instance: Instance) -> None:
        self.databases.restart(instance)

    def member_restarted(self, cluster: Instance, member: Member) -> None:
        self.databases.restart_member(cluster, member)

    def instance_stopped(self, instance: Instance) -> None:
        self.databases.halt(instance)

    def instance_started(self, instance: Instance) -> None:
        self.databases.resume(instance)

    def instance_deleted(self, instance: Instance) -> None:
        self.databases.delete(instance)

    def snapshot_taken(self, instance: Instance) -> Snapshot:
        return self.databases.snapshot(instance)

    def proxy_changed(self, proxy: Proxy) -> None:
        self.proxies.change(proxy)

    def proxy_deleted(self, proxy: Proxy) -> None:
        self.proxies.delete(proxy)

    def target_health(self, proxy: Proxy) -> TargetHealth:
        return self.proxies.health(proxy)

    def function_deleted(self, name: str) -> None:
        self._runtime.retire(name)

    def invoke(
        self, function: FunctionVersion, payload: bytes, *, reserved_concurrency: int | None, invoked_arn: str
    ) -> Invocation:
        return self._runtime.invoke(
            replace(function, layers=self._layers.suited(function.layers)),
            payload,
            reserved_concurrency=reserved_concurrency,
            invoked_arn=invoked_arn,
        )

    # --- metrics ---

    def _minute_over(self, end: float) -> None:
        """Publish what the parts of the stack report of the minute that ends, and have the alarms evaluated."""
        at = end - self.metric_minute_seconds / 2
        parts: list[Callable[[], None]] = [
            *self.proxies.reports(at),
            *self.databases.reports(at),
            partial(publish_queues, at),
            self._runtime.report,
            partial(self._control_plane.evaluate_alarms, end),
        ]
        for publish in parts:
            try:
                publish()
            except Exception:  # a part may end while it is asked
                _log.warning("a report is missing", exc_info=True)

    # --- functions on this machine ---

    def _lead_here(self, function: FunctionVersion, variables: dict[str, str]) -> dict[str, str]:
        """Add where libpq finds the host on this machine, and the roots of the local authority in place of AWS's."""
        led = {}
        if authority := _authority(variables.get("PGSSLROOTCERT", ""), function):
            led["PGSSLROOTCERT"] = str(self._certificates.ca_file(authority))
        host, reader, groups = variables.get("PGHOST", ""), variables.get("PGHOST_READER"), function.security_group_ids
        if self.endpoints.get(host) is None:
            return variables | led
        led |= {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(self.endpoints.port_for(function.name, groups, host))}
        if reader:
            led["PGPORT_READER"] = str(self.endpoints.port_for(function.name, groups, reader))
        return variables | led


def _authority(ca_file: str, function: FunctionVersion) -> Authority | None:
    """The local authority in the place of a CA file that the function's layer really has."""
    name = ca_file.removeprefix(_CERTIFICATES_IN_LAYER)
    if name == ca_file or not any(f"certificates/{name}" in names_in(layer) for layer in function.layers):
        return None
    if name == "amazon-trust-services.pem":
        return "proxy"
    return "rds" if re.fullmatch(rf"rds-{function.region}\.pem", name) else None
