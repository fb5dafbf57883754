"""An AWS account in this process: moto's server with corrections, and hooks where something real is to happen."""

from __future__ import annotations

import socket
import threading
from functools import cache
from typing import Any

from moto.awslambda.models import LambdaBackend
from moto.awslambda_simple.models import lambda_simple_backends
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.core.config import default_user_config
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.rds.models import rds_backends
from werkzeug.serving import BaseWSGIServer, make_server

from local.aws.account import Events, Proxy, proxy_of
from local.aws.admission import Admission, new_key
from local.aws.cloudwatch.alarms import evaluate
from local.aws.corrections import correct, logs
from local.aws.corrections.functions import fall_idle
from local.aws.corrections.instances import apply_what_waits
from local.aws.event_sources import EventSources
from local.aws.functions import Functions
from local.aws.hooks import hook
from local.aws.hooks.calls import Refusals
from local.aws.hooks.instances import tell
from local.aws.http_apis import HttpApis
from local.aws.iam import Iam
from local.aws.moto import Moto, every
from local.credentials import Credentials

_backend_app = cache(create_backend_app)  # of a service: nothing of an account is in it


class ControlPlane:
    """Answer AWS API calls on 127.0.0.1 until stopped. One at a time in a process: moto's state is global.

    A minute of CloudWatch's, such as the 60 seconds of a period, lasts `metric_minute_seconds`.
    """

    url: str

    def __init__(self, events: Events | None = None, *, metric_minute_seconds: float = 60) -> None:
        self.events = events or Events()
        self.iam = Iam()
        self.administrator = new_key("arn:aws:iam::123456789012:root")
        self._moto = Moto()
        self._server: BaseWSGIServer | None = None
        self._metric_minute_seconds = metric_minute_seconds
        self.functions = Functions(self.iam, self.events, metric_minute_seconds)
        self.http_apis = HttpApis(self.iam, self.functions, self.administrator)
        self.event_sources = EventSources(self.functions, metric_minute_seconds)
        self._refusals: Refusals = []

    def start(self, port: int = 0) -> None:
        """Open an empty account; OSError when the port is taken."""
        listener = socket.create_server(("127.0.0.1", port))
        default_user_config["lambda"]["use_docker"] = False
        moto_api_backend.reset()
        correct(self._moto)
        self._moto.set(CloudWatchBackend, "minute_seconds", self._metric_minute_seconds)
        hook(
            self._moto,
            self.events,
            iam=self.iam,
            refusals=self._refusals,
            runs=self.functions,
            http=self.http_apis,
            sources=self.event_sources,
        )
        port = listener.getsockname()[1]
        moto = DomainDispatcherApplication(_backend_app)
        application = Admission(moto, host=f"127.0.0.1:{port}", credentials=self._credentials_of)
        self._server = make_server(
            "127.0.0.1", port, application, threaded=True, request_handler=_RequestHandler, fd=listener.fileno()
        )
        listener.close()  # the server has its own copy
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="control plane", daemon=True).start()
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.http_apis.stop()
        self.event_sources.stop()
        self.functions.stop()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._moto.restore()

    def _credentials_of(self, access_key_id: str) -> Credentials | None:
        """Find who calls: this stack's administrator, or a role in a session that STS has begun."""
        return self.http_apis.credentials_of(access_key_id)

    def let_window_pass(self) -> None:
        """Make the changes that wait for the maintenance window, which nobody waits for here."""
        for backend in every(rds_backends):
            for database in list(backend.databases.values()):
                starts = database.starts
                apply_what_waits(backend, database)
                tell(self.events, database, starts)

    def proxies(self) -> list[Proxy]:
        return [proxy_of(proxy) for backend in every(rds_backends) for proxy in list(backend.db_proxies.values())]

    def evaluate_alarms(self, now: float) -> None:
        """Evaluate every alarm on the minutes that are over."""
        for backend in every(cloudwatch_backends):
            evaluate(backend, now)

    def write_late_lines(self) -> list[str]:
        """Let RDS write the last lines of what was deleted; return the log groups that it makes again for them."""
        return [group for backend in every(rds_backends) for group in logs.write_late_lines(backend)]

    # --- what a test may do to the account ---

    def limit_concurrency(self, executions: int) -> None:
        """Let the account run no more executions at once, as one that is new."""
        self._moto.set(LambdaBackend, "concurrency_limit", executions)

    def fall_idle(self, name: str) -> None:
        """Let a function and its versions be as if nobody had invoked them for 14 days."""
        for backend in every(lambda_simple_backends):
            if held := backend._lambdas._functions.get(name):
                for version in (held["latest"], *held["versions"]):
                    fall_idle(version)

    def refuse_once(self, action: str, code: str = "ExpiredToken") -> None:
        """Refuse the next call of an action, as when credentials run out in the middle of an apply."""
        self._refusals.append((action, code))


class _RequestHandler(MotoRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Stay silent: only errors are worth a line."""
