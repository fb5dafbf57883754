"""An AWS account in this process: moto's server with corrections, and hooks where something real is to happen."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from urllib.parse import unquote

# Read by moto while it is imported.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"  # no web page is to read an answer
os.environ.pop("MOTO_ACCOUNT_ID", None)  # it would put every caller into one account

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.awslambda.responses import LambdaResponse
from moto.awslambda_simple.models import LambdaSimpleBackend, lambda_simple_backends
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.config import default_user_config
from moto.core.responses import BaseResponse
from moto.ec2.models import ec2_backends
from moto.logs.models import logs_backends
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.rds.exceptions import DBInstanceNotFoundError
from moto.rds.models import DBProxyTarget, RDSBackend, rds_backends
from moto.secretsmanager.models import secretsmanager_backends
from werkzeug.serving import BaseWSGIServer, make_server

from local.admission import Admission, failure, new_key
from local.corrections import Method, Moto, correct, functions, logs, parameters
from local.corrections.instances import apply_what_waits
from local.credentials import Credential
from local.directory import MotoDirectory, SecretRefused, current_value, role_allows
from local.lambda_runtime.environment import RuntimeStoppedError
from local.lambda_runtime.function import Archive, FunctionVersion, Invocation, RoleCredentials
from local.lambda_runtime.runtime import TooManyRequestsError

__all__ = ["ControlPlane", "Events", "Instance", "MotoDirectory", "Proxy", "SecretRefused", "TargetHealth"]

SESSION_SECONDS = 12 * 3600
REMEMBERED_ANSWERS = 100

_LOG_CALLS = ("CreateLogStream", "PutLogEvents")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instance:
    """A database instance as Terraform made it."""

    identifier: str
    arn: str
    resource_id: str
    host: str
    port: int
    database: str | None
    master_username: str
    master_password: str = field(repr=False)
    master_secret_arn: str | None
    engine_version: str
    iam_authentication: bool
    parameters: Mapping[str, str]
    security_group_ids: tuple[str, ...]
    content: Any = field(default=None, repr=False)  # of the snapshot that it was restored from


@dataclass(frozen=True)
class ProxyAuth:
    """One secret that a proxy logs in with."""

    secret_arn: str
    iam_auth: str
    client_password_auth_type: str | None


@dataclass(frozen=True)
class Proxy:
    """A proxy as Terraform made it; complete once it has an instance for its target."""

    name: str
    id: str
    arn: str
    host: str
    port: int
    role_arn: str
    auth: tuple[ProxyAuth, ...]
    require_tls: bool
    idle_client_timeout_seconds: int
    debug_logging: bool
    security_group_ids: tuple[str, ...]
    instance: Instance | None
    max_connections_percent: int
    max_idle_connections_percent: int
    borrow_timeout_seconds: int
    init_query: str | None


@dataclass(frozen=True)
class TargetHealth:
    """What DescribeDBProxyTargets says of a target."""

    state: str = "AVAILABLE"
    reason: str | None = None
    description: str | None = None


class Events:
    """What happens in the account; override what the stack takes part in.

    A hook runs within the API call and may block. What it raises becomes the call's error, and an instance or a target
    that was just made is taken back.
    """

    def instance_created(self, instance: Instance) -> None: ...

    def instance_changed(self, instance: Instance) -> None:
        """An instance was modified, or its master password was rotated."""

    def instance_restarted(self, instance: Instance) -> None:
        """An instance was rebooted, or changed in a way that restarts its server: its parameters are in force."""

    def instance_deleted(self, instance: Instance) -> None: ...

    def snapshot_taken(self, instance: Instance) -> Any:  # noqa: ARG002
        """Return what a snapshot holds: restored, it is the new instance's `content`."""
        return None

    def proxy_changed(self, proxy: Proxy) -> None:
        """A proxy got its target, or a setting of one that has a target changed, or it lost its target."""

    def proxy_deleted(self, proxy: Proxy) -> None: ...

    def target_health(self, proxy: Proxy) -> TargetHealth:  # noqa: ARG002
        return TargetHealth()

    def invoke(
        self, function: FunctionVersion, payload: bytes, *, reserved_concurrency: int | None, invoked_arn: str
    ) -> Invocation:
        raise NotImplementedError("Nothing here runs functions.")

    def function_deleted(self, name: str) -> None: ...


class ControlPlane:
    """Answer AWS API calls on 127.0.0.1 until stopped. One at a time in a process: moto's state is global."""

    url: str

    def __init__(self, events: Events | None = None) -> None:
        self.events = events or Events()
        self.directory = MotoDirectory(self.reachable)
        self.administrator = new_key("arn:aws:iam::123456789012:root")
        self._moto = Moto()
        self._layers: dict[str, Archive] = {}
        self._server: BaseWSGIServer | None = None
        self._stopped = threading.Event()
        self.refusals: list[tuple[str, str]] = []

    def start(self, port: int = 0) -> None:
        """Open an empty account; OSError when the port is taken."""
        listener = socket.create_server(("127.0.0.1", port))
        default_user_config["lambda"]["use_docker"] = False
        moto_api_backend.reset()
        correct(self._moto)
        _hook(self._moto, self)
        port = listener.getsockname()[1]
        moto = DomainDispatcherApplication(create_backend_app)
        application = Admission(moto, host=f"127.0.0.1:{port}", credential=self._credential)
        self._server = make_server(
            "127.0.0.1", port, application, threaded=True, request_handler=_RequestHandler, fd=listener.fileno()
        )
        listener.close()  # the server has its own copy
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="control plane", daemon=True).start()
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._moto.restore()

    def _credential(self, access_key_id: str) -> Credential | None:
        """Find who calls: this stack's administrator, or a role in a session that STS has begun."""
        if access_key_id == self.administrator.access_key_id:
            return self.administrator
        return self.directory.credential(access_key_id)

    def instances(self) -> list[Instance]:
        return [_instance(database) for backend in _backends(rds_backends) for database in backend.databases.values()]

    def let_window_pass(self) -> None:
        """Make the changes that wait for the maintenance window, which nobody waits for here."""
        for backend in _backends(rds_backends):
            for database in list(backend.databases.values()):
                starts = database.starts
                apply_what_waits(backend, database)
                _tell(self.events, database, starts)

    def proxies(self) -> list[Proxy]:
        return [_proxy(proxy) for backend in _backends(rds_backends) for proxy in backend.db_proxies.values()]

    def write_late_lines(self) -> list[str]:
        """Let RDS write the last lines of what was deleted; return the log groups that it makes again for them."""
        return [group for backend in _backends(rds_backends) for group in logs.write_late_lines(backend)]

    def credentials_for(self, function: FunctionVersion) -> RoleCredentials:
        """Assume a function's role for one execution environment."""
        arn = ":".join(function.arn.split(":")[:7])
        session = self.directory.assume_role(
            function.role_arn, session=function.name, seconds=SESSION_SECONDS, function_arn=arn
        )
        return RoleCredentials(
            session.access_key_id,
            session.secret_access_key,
            session.session_token,
            session.expiration.replace(tzinfo=UTC),
        )

    def write_log(self, function: FunctionVersion, stream: str, lines: list[str]) -> None:
        """Put what a function wrote into its log group, which Lambda makes where the role may, as far as it may."""
        _, partition, _, region, account, _ = function.arn.split(":", 5)
        backend = logs_backends[account][region]
        arn = f"arn:{partition}:logs:{region}:{account}:log-group:{function.log_group}:log-stream:{stream}"
        permitted = all(role_allows(function.role_arn, f"logs:{call}", arn) for call in _LOG_CALLS)
        if permitted and role_allows(function.role_arn, "logs:CreateLogGroup", arn.rpartition(":log-stream:")[0]):
            backend.ensure_log_group(function.log_group)
        if lines and permitted and function.log_group in backend.groups:
            now = int(time.time() * 1000)
            backend.ensure_log_stream(function.log_group, stream)
            events = [{"timestamp": now, "message": line} for line in lines]
            backend.put_log_events(function.log_group, stream, events)

    def reachable(self, from_group_ids: Iterable[str], to_group_ids: Iterable[str], port: int) -> bool:
        """Tell whether the security groups let TCP through: egress of the one side and ingress of the other.

        Addresses are not known here: a rule with a CIDR counts only when it covers the other side's whole VPC.
        """
        near, far = _groups(from_group_ids), _groups(to_group_ids)
        return any(_permits(rule, far, port) for group in near for rule in group.egress_rules) and any(
            _permits(rule, near, port) for group in far for rule in group.ingress_rules
        )

    # --- what a test may do to the account ---

    def limit_concurrency(self, executions: int) -> None:
        """Let the account run no more executions at once, as one that is new."""
        self._moto.set(LambdaBackend, "concurrency_limit", executions)

    def fall_idle(self, name: str) -> None:
        """Let a function and its versions be as if nobody had invoked them for 14 days."""
        for backend in _backends(lambda_simple_backends):
            if held := backend._lambdas._functions.get(name):
                for version in (held["latest"], *held["versions"]):
                    functions.fall_idle(version)

    def refuse_once(self, action: str, code: str = "ExpiredToken") -> None:
        """Refuse the next call of an action, as when credentials run out in the middle of an apply."""
        self.refusals.append((action, code))

    # --- functions ---

    def invoke(
        self, backend: LambdaBackend, name: str, qualifier: str | None, payload: bytes
    ) -> tuple[FunctionVersion, Invocation]:
        """Run the version that a name (with or without a qualifier, or an ARN) leads to."""
        found = backend.get_function(name, qualifier)
        latest = backend.get_function(found.function_name)
        if ":" in name:
            qualifier = name.split(":")[7] if name.count(":") == 7 else qualifier
            qualifier = name.split(":")[1] if name.count(":") == 1 else qualifier
        functions.refuse_unless_active(found)
        function = self._version(found)
        reserved = latest.reserved_concurrency
        invocation = self.events.invoke(
            function,
            payload,
            reserved_concurrency=None if reserved is None else int(reserved),
            invoked_arn=latest.function_arn + (f":{qualifier}" if qualifier else ""),
        )
        return function, invocation

    def invoke_in_background(self, backend: LambdaBackend, name: str, qualifier: str | None, payload: bytes) -> None:
        """Run an event. Lambda queues it while throttled, as here; its retries after an error are left out."""
        backend.get_function(name, qualifier)

        def run() -> None:
            while not self._stopped.is_set():
                with suppress(TooManyRequestsError, RuntimeStoppedError):
                    self.invoke(backend, name, qualifier, payload)
                    return
                self._stopped.wait(0.2)

        threading.Thread(target=run, daemon=True).start()

    def keep_layer(self, arn: str, archive: Archive) -> None:
        """Keep a layer's content: versions that were published with it run on when the layer is deleted."""
        self._layers[arn] = archive

    def _version(self, function: LambdaFunction) -> FunctionVersion:
        arn = function.function_arn
        return FunctionVersion(
            name=function.function_name,
            version=str(function.version),
            arn=f"{arn}:$LATEST" if function.version == "$LATEST" else arn,
            handler=str(function.handler),
            runtime=str(function.run_time),
            timeout_seconds=int(function.timeout),
            memory_mb=int(function.memory_size),
            role_arn=function.role,
            log_group=function.logs_group_name,
            package=Archive(function.code_digest, function.code_bytes),
            layers=tuple(self._layers[layer["Arn"]] for layer in function.layers),
            variables=tuple(sorted(function.environment_vars.items())),
            security_group_ids=tuple((function.vpc_config or {}).get("SecurityGroupIds", [])),
        )


class _RequestHandler(MotoRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Stay silent: only errors are worth a line."""


def _hook(moto: Moto, plane: ControlPlane) -> None:
    """Lead from moto's calls to the events."""
    _hook_calls(moto, plane)
    _hook_instances(moto, plane.events)
    _hook_proxies(moto, plane.events)
    _hook_functions(moto, plane)


def _hook_calls(moto: Moto, plane: ControlPlane) -> None:
    @moto.around(ActionAuthenticatorMixin, "_authenticate_and_authorize_normal_action")
    def authorize(_: Method, self: Any, *_resource: Any) -> None:
        plane.directory.authorize(self)

    answers: OrderedDict[tuple[str, str | None], Any] = OrderedDict()
    lock = threading.Lock()

    @moto.around(BaseResponse, "call_action")
    def call(original: Method, self: Any) -> Any:
        """Answer a call that an SDK repeats, because the answer was lost on the way, as it was answered before."""
        identity = (self.get_access_key(), self.headers.get("amz-sdk-invocation-id"))
        with lock:
            if identity in answers:
                return answers[identity]
        answer = attempt(original, self)
        if identity[1] and int(answer[0]) < 400:
            with lock:
                answers[identity] = answer
                while len(answers) > REMEMBERED_ANSWERS:
                    answers.popitem(last=False)
        return answer

    def attempt(original: Method, self: Any) -> Any:
        """Answer 501 where moto would answer 500: SDKs do not try that again, for minutes, but show it."""
        for refusal in plane.refusals:
            if refusal[0] == self._get_action():
                plane.refusals.remove(refusal)
                return _failure(self, refusal[1], f"{refusal[0]} was refused, as told.", status=403)
        try:
            return original(self)
        except Exception as error:
            code = "NotImplemented" if isinstance(error, NotImplementedError) else "InternalFailure"
            _log.exception("%s failed", self._get_action())
            return _failure(self, code, f"{type(error).__name__}: {error}")


def _failure(request: Any, code: str, message: str, *, status: int = 501) -> tuple[int, dict[str, str], str]:
    content_type, body = failure(request.service_name, request.headers.get("Content-Type") or "", code, message)
    return status, {"Content-Type": content_type, "x-amzn-errortype": code}, body.decode()


def _hook_instances(moto: Moto, events: Events) -> None:
    take_back = RDSBackend.delete_db_instance

    @moto.around(RDSBackend, "create_db_instance")
    def create(original: Method, self: Any, db_kwargs: Any) -> Any:
        database = original(self, db_kwargs)
        try:
            events.instance_created(_instance(database))
        except BaseException:
            database.deletion_protection = False
            take_back(self, database.db_instance_identifier, skip_final_snapshot=True)
            raise
        return database

    @moto.around(RDSBackend, "create_db_snapshot")
    def take_snapshot(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        snapshot = original(self, *args, **kwargs)
        if snapshot.snapshot_type == "manual":  # moto takes an automated one before the instance is there
            snapshot.content = events.snapshot_taken(_instance(self.databases[snapshot.db_instance_identifier]))
        return snapshot

    @moto.around(RDSBackend, "modify_db_instance")
    def modify(original: Method, self: Any, db_instance_identifier: str, db_kwargs: Any) -> Any:
        starts = self.describe_db_instances(db_instance_identifier)[0].starts
        database = original(self, db_instance_identifier, db_kwargs)
        _tell(events, database, starts)
        return database

    @moto.around(RDSBackend, "modify_db_parameter_group")
    def modify_group(original: Method, self: Any, db_parameter_group_name: str, *args: Any, **kwargs: Any) -> Any:
        group = original(self, db_parameter_group_name, *args, **kwargs)
        for database in self.databases.values():
            if database.db_parameter_groups()[0] is group:
                events.instance_changed(_instance(database))
        return group

    @moto.around(RDSBackend, "reboot_db_instance")
    def reboot(original: Method, self: Any, db_instance_identifier: str) -> Any:
        """Answer at once; the instance is `rebooting` until its server is back."""
        database = original(self, db_instance_identifier)
        database.status = "rebooting"

        def restart() -> None:
            parameters.restart(database)
            try:
                events.instance_restarted(_instance(database))
            except Exception:
                _log.exception("%s does not start again", db_instance_identifier)
                database.status = "incompatible-parameters"
            else:
                database.status = "available"

        threading.Thread(target=restart, name=f"reboot of {db_instance_identifier}", daemon=True).start()
        return database

    @moto.around(RDSBackend, "delete_db_instance")
    def delete(original: Method, self: Any, db_instance_identifier: str, *args: Any, **kwargs: Any) -> Any:
        database = self.databases.get(db_instance_identifier)
        view = _instance(database) if database else None  # before its secret is gone
        served = [proxy for proxy in self.db_proxies.values() if _targets(proxy, db_instance_identifier)]
        deleted = original(self, db_instance_identifier, *args, **kwargs)
        for proxy in served:
            events.proxy_changed(_proxy(proxy))
        if view is not None:
            events.instance_deleted(view)
        return deleted


def _tell(events: Events, database: Any, starts: int) -> None:
    """Tell of a change, and of a restart if there was one since `starts`."""
    if database.starts == starts:
        events.instance_changed(_instance(database))
    else:
        events.instance_restarted(_instance(database))


def _hook_proxies(moto: Moto, events: Events) -> None:
    def changed(backend: Any, name: str, *, had_target: bool) -> None:
        view = _proxy(backend.db_proxies[name])
        if view.instance is not None or had_target:
            events.proxy_changed(view)

    def has_target(backend: Any, name: str) -> bool:
        return name in backend.db_proxies and _proxy(backend.db_proxies[name]).instance is not None

    @moto.around(RDSBackend, "register_db_proxy_targets")
    def register(
        original: Method, self: Any, db_proxy_name: str, *, db_instance_identifiers: list[str], **kwargs: Any
    ) -> Any:
        for identifier in db_instance_identifiers:
            if identifier not in self.databases:
                raise DBInstanceNotFoundError(identifier)
        targets = original(self, db_proxy_name=db_proxy_name, db_instance_identifiers=db_instance_identifiers, **kwargs)
        try:
            changed(self, db_proxy_name, had_target=False)
        except BaseException:
            group = self.db_proxies[db_proxy_name].proxy_target_groups["default"]
            group.targets = [target for target in group.targets if target not in targets]
            raise
        return targets

    for name in ("modify_db_proxy", "modify_db_proxy_target_group", "deregister_db_proxy_targets"):

        @moto.around(RDSBackend, name)
        def modify(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
            proxy = args[0] if args else kwargs.get("proxy_name") or kwargs["db_proxy_name"]
            had_target = has_target(self, proxy)
            result = original(self, *args, **kwargs)
            changed(self, proxy, had_target=had_target)
            return result

    @moto.around(RDSBackend, "delete_db_proxy")
    def delete(original: Method, self: Any, proxy_name: str) -> Any:
        view = _proxy(self.describe_db_proxies(proxy_name)[0])
        deleted = original(self, proxy_name)
        events.proxy_deleted(view)
        return deleted

    def health(target: Any) -> dict[str, str]:
        group = next(
            group
            for proxy in target.backend.db_proxies.values()
            for group in proxy.proxy_target_groups.values()
            if target in group.targets
        )
        found = events.target_health(_proxy(target.backend.db_proxies[group.db_proxy_name]))
        answer = {"State": found.state, "Reason": found.reason, "Description": found.description}
        return {name: value for name, value in answer.items() if value is not None}

    moto.set(DBProxyTarget, "target_health", property(health))


def _hook_functions(moto: Moto, plane: ControlPlane) -> None:
    @moto.around(LambdaResponse, "invoke")
    def invoke(_: Method, self: Any) -> Any:
        name = unquote(self.path.rsplit("/", 2)[-2])
        qualifier = self.querystring.get("Qualifier", [None])[0]
        payload = (self.body or "{}").encode() if isinstance(self.body or "", str) else self.body
        try:
            json.loads(payload)
        except ValueError as error:
            message = f"Could not parse request body into json: {error}"
            raise LambdaClientError("InvalidRequestContentException", message) from error
        match self.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
            case "DryRun":
                return 204, {"status": 204}, ""
            case "Event":
                plane.invoke_in_background(self.backend, name, qualifier, payload)
                return 202, {"status": 202}, ""
        try:
            function, invocation = plane.invoke(self.backend, name, qualifier, payload)
        except TooManyRequestsError as error:
            headers = {"status": 429, "x-amzn-errortype": "TooManyRequestsException"}
            return 429, headers, json.dumps({"Reason": error.reason, "Type": "User", "message": str(error)})
        except RuntimeStoppedError as error:
            raise LambdaClientError("ServiceException", "The stack is being stopped.") from error
        headers = {"status": 200, "Content-Type": "application/json", "X-Amz-Executed-Version": function.version}
        if invocation.function_error:
            headers["X-Amz-Function-Error"] = invocation.function_error
        if self.headers.get("X-Amz-Log-Type") == "Tail":
            headers["X-Amz-Log-Result"] = invocation.log_tail
        return 200, headers, invocation.payload

    @moto.around(LambdaSimpleBackend, "invoke")
    def invoke_for_a_service(
        _: Method, self: Any, function_name: str, qualifier: Any, body: str, *_rest: Any, **__: Any
    ) -> bytes:
        """Secrets Manager rotates in the background and drops the error; here it reaches who asked for the rotation."""
        event = json.loads(body or "{}")
        if "Step" in event and "SecretId" in event:  # Secrets Manager names the secret by its ARN, moto by its name
            secrets = secretsmanager_backends[self.account_id][self.region_name].secrets
            event["SecretId"] = secrets[event["SecretId"]].arn
        function, invocation = plane.invoke(self, function_name, qualifier, json.dumps(event).encode())
        if invocation.function_error:
            error = json.loads(invocation.payload).get("errorMessage")
            raise LambdaClientError("InvalidRequestException", f"{function.name} failed: {error}")
        return invocation.payload

    @moto.around(LambdaBackend, "delete_function")
    def delete(original: Method, self: Any, function_name: str, qualifier: str | None = None) -> None:
        function = self.get_function(function_name, qualifier)
        original(self, function_name, qualifier)
        if function.version == "$LATEST":
            plane.events.function_deleted(function.function_name)

    @moto.around(LambdaBackend, "publish_layer_version")
    def publish(original: Method, self: Any, spec: Any) -> Any:
        layer = original(self, spec)
        plane.keep_layer(layer.arn, Archive(layer.code_digest, layer.code_bytes))
        return layer


def _instance(database: Any) -> Instance:
    secret_arn = database.master_user_secret.secret_arn if hasattr(database, "master_user_secret") else None
    return Instance(
        identifier=database.db_instance_identifier,
        arn=database.arn,
        resource_id=database.dbi_resource_id,
        host=database.address,
        port=int(database.port),
        database=database.db_name,
        master_username=database.master_username,
        master_password=(
            json.loads(current_value(secret_arn))["password"] if secret_arn else database._master_user_password or ""
        ),
        master_secret_arn=secret_arn,
        engine_version=database.engine_version,
        iam_authentication=bool(database.enable_iam_database_authentication),
        parameters=dict(parameters.in_force(database)),
        security_group_ids=tuple(database.vpc_security_group_ids),
        content=getattr(database, "content", None),
    )


def _targets(proxy: Any, identifier: str) -> bool:
    return any(target.rds_resource_id == identifier for target in proxy.proxy_target_groups["default"].targets)


def _proxy(proxy: Any) -> Proxy:
    group = proxy.proxy_target_groups["default"]
    databases = proxy.backend.databases
    targets = [_instance(databases[t.rds_resource_id]) for t in group.targets if t.rds_resource_id in databases]
    return Proxy(
        name=proxy.db_proxy_name,
        id=proxy.unique_id,
        arn=proxy.arn,
        host=proxy.endpoint,
        port=5432,  # the proxy listens there for PostgreSQL, whatever the instance's port
        role_arn=proxy.role_arn,
        auth=tuple(
            ProxyAuth(auth["SecretArn"], auth.get("IAMAuth", "DISABLED"), auth.get("ClientPasswordAuthType"))
            for auth in proxy.auth
        ),
        require_tls=bool(proxy.require_tls),
        idle_client_timeout_seconds=int(proxy.idle_client_timeout),
        debug_logging=bool(proxy.debug_logging),
        security_group_ids=tuple(proxy.vpc_security_group_ids),
        instance=targets[0] if targets else None,
        max_connections_percent=int(group.max_connections),
        max_idle_connections_percent=int(group.max_idle_connections),
        borrow_timeout_seconds=int(group.borrow_timeout),
        init_query=getattr(group, "init_query", None),
    )


def _groups(group_ids: Iterable[str]) -> list[Any]:
    found = [backend.get_security_group_from_id(id_) for id_ in group_ids for backend in _backends(ec2_backends)]
    return [group for group in found if group is not None]


def _permits(rule: Any, others: list[Any], port: int) -> bool:
    if rule.ip_protocol != "-1" and not (
        rule.ip_protocol == "tcp" and int(rule.from_port) <= port <= int(rule.to_port)
    ):
        return False
    if rule.source_group:
        return any(rule.source_group["GroupId"] == group.id for group in others)
    if not rule.cidr_ipv4:
        return False
    network = ipaddress.ip_network(rule.cidr_ipv4)
    vpcs = [group.ec2_backend.vpcs[group.vpc_id] for group in others]
    return any(ipaddress.ip_network(vpc.cidr_block).subnet_of(network) for vpc in vpcs)  # type: ignore[arg-type]


def _backends(backends: Any) -> Iterator[Any]:
    for account in list(backends.values()):
        yield from list(account.values())
