"""The stand-in as a command: in front of any PostgreSQL, until it is stopped or the command that it wraps has ended."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import logging
import os
import resource
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..certificates import Certificates
from ..loop import LoopThread
from .backend import Backend, BackendError, log_in, read_url
from .keys import Keys, KeysError, keys_of
from .listener import ProxyListener, ProxySettings
from .options import parse
from .pin_log import PinLog, printable
from .pool import PoolSettings, Secret
from .watch import Output, Watch

PINNED = 1
NOT_STARTED = 3
_NOT_FOUND = 127
_ROOM = __name__.removesuffix(".rds_proxy.command")  # what it is installed as
_REFRESH_SECONDS = 1.0
_STOP_TIMEOUT_SECONDS = 10.0


class NotStarted(Exception):  # noqa: N818 (why there is no stand-in)
    """One line for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stand-in; return its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    url = options.url or os.environ.get("DATABASE_URL") or "postgresql://"
    try:
        backend = asyncio.run(log_in(read_url(url, os.environ), options.init_query))
        keys = keys_of(os.environ) if options.iam_auth == "REQUIRED" else None
        with tempfile.TemporaryDirectory(prefix="rds-proxy-standin-") as folder:
            return _Run(options, backend, keys, Path(folder)).run()
    except (BackendError, KeysError, NotStarted) as problem:
        print(f"rds-proxy-standin: {printable(str(problem))}", file=sys.stderr)
        return NOT_STARTED
    except KeyboardInterrupt:  # before there was anything to stop
        return 0


class _Run:
    """One run of the stand-in: its certificates, its listener, what it shows and how it ends."""

    def __init__(self, options: argparse.Namespace, backend: Backend, keys: Keys | None, folder: Path) -> None:
        self._options = options
        self._backend = backend
        self._keys = keys
        # Clients log in with a password, always. Where the server asks for none there is one of the stand-in's own.
        self._made_up = keys is None and not backend.password
        self._password = secrets.token_urlsafe(12) if self._made_up else backend.password
        certificates = Certificates(folder)
        self._certificate = certificates.host("proxy", options.host, "127.0.0.1", "::1")
        self._ca_file = certificates.ca_file("proxy")
        self._output = Output(sys.stderr if options.command else sys.stdout)
        self._screen = options.watch and self._output.is_terminal and not options.command
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        options = self._options
        self._prepare_files()
        _allow_many_files()
        loop = LoopThread()
        watch = Watch(self._output, screen=self._screen)
        pins = PinLog(
            ignore_named=options.ignore_named_statements, heard=watch.pin if options.watch else lambda _: None
        )
        counted = options.watch or options.fail_on_pin or options.report is not None
        keys = self._keys or keys_of({})
        try:
            proxy = ProxyListener(
                loop.loop,
                name="rds-proxy-standin",
                host_name=options.host,
                certificate=self._certificate,
                directory=keys,
                resource_prefix=keys.resource_prefix,
                settings=self._settings(),
                address=options.listen,
                on_pin=pins if counted else None,
            )
            proxy.register(self._backend.target)
            with self._signals(), self._log_to(watch):
                self._start(proxy)
                try:
                    header = self._introduction(proxy.port)
                    self._output.write(header + "\n")
                    watch.header = header
                    status = self._wait(proxy, watch)
                    return self._conclude(proxy, pins, status)
                finally:
                    proxy.stop()
        finally:
            loop.stop()
            self._output.close()

    # Before.

    def _prepare_files(self) -> None:
        """Write the authority's certificate where it was asked for; find out now whether the report can be written."""
        try:
            if self._options.ca_file is not None:
                self._options.ca_file.write_bytes(self._ca_file.read_bytes())
                self._ca_file = self._options.ca_file.resolve()
            if self._options.report is not None:
                self._options.report.write_text("")
        except OSError as error:
            raise NotStarted(f"{error.filename} cannot be written: {error.strerror}.") from error

    def _settings(self) -> ProxySettings:
        options = self._options
        known = {secret.username: secret for secret in options.secrets}
        known[self._backend.user] = Secret(self._backend.user, self._password)
        pool = PoolSettings(
            secret=known.get,
            max_connections_percent=options.max_connections_percent,
            max_idle_connections_percent=options.max_idle_connections_percent,
            borrow_timeout_seconds=options.connection_borrow_timeout,
            init_query=options.init_query,
            users=lambda: [self._backend.user],
            health_database=self._backend.database,
        )
        return ProxySettings(
            pool=pool,
            iam_required=self._keys is not None,
            require_tls=options.require_tls,
            idle_client_timeout_seconds=options.idle_client_timeout,
            md5_passwords=options.client_password_auth_type.endswith("MD5"),
            max_client_connections=options.max_client_connections,
            max_new_connections_per_second=options.max_new_connections_per_second,
        )

    def _start(self, proxy: ProxyListener) -> None:
        options = self._options
        try:
            proxy.start(options.port)
        except OSError as error:
            place = f"{options.listen}:{options.port}"
            if error.errno == errno.EADDRINUSE:
                raise NotStarted(
                    f"Port {options.port} is in use: choose another with --port, 0 for any free one."
                ) from error
            raise NotStarted(f"It cannot listen on {place}: {error.strerror or error}.") from error

    def _introduction(self, port: int) -> str:
        options, backend = self._options, self._backend
        most = max(1, backend.target.max_connections * options.max_connections_percent // 100)
        url = backend.url(host=options.host, port=port, ca_file=self._ca_file)
        what = (
            f"Stand-in for RDS Proxy on {options.host}:{port}, in front of {printable(backend.place)}: "
            f"at most {most} of its {backend.target.max_connections} connections"
        )
        if options.command:  # which finds all else in its environment variables
            return what
        lines = [what, f"  CA file     {self._ca_file}", f"  connection  {url}", *self._login_lines(port)]
        return "\n".join(lines)

    def _login_lines(self, port: int) -> list[str]:
        user, host = self._backend.user, self._options.host
        if self._keys is None:
            made_up = f"{self._password} (made up: the server itself asks user {printable(user)} for none)"
            return [f"  password    {made_up if self._made_up else 'the one that you gave'}"]
        how = (
            f"  token       aws rds generate-db-auth-token --hostname {host} --port {port} "
            f"--username {shlex.quote(user)} --region {self._keys.region}"
        )
        if not self._keys.made_up:
            return ["  keys        those in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", how]
        exported = " ".join(f"{name}={value}" for name, value in self._keys.environment().items())
        token = shlex.quote(self._keys.token(host=host, port=port, user=user))
        return [
            f"  keys        {exported} (made up for this run)",
            how,
            f"  or          PGPASSWORD={token} (for 15 minutes)",
        ]

    @contextlib.contextmanager
    def _log_to(self, watch: Watch) -> Iterator[None]:
        """Let the log of the stand-in go to the screen if there is one, else to the standard error."""
        handler: logging.Handler = _WatchHandler(watch) if self._screen else logging.StreamHandler()
        handler.setFormatter(_OneLine("%(message)s" if self._screen else "%(asctime)s %(message)s"))
        if self._options.watch or self._options.fail_on_pin:
            # A pin that is shown or listed anyway need not be said twice.
            handler.addFilter(lambda record: record.name != f"{__package__}.session")
        loggers = [logging.getLogger(f"{_ROOM}.{name}") for name in ("rds_proxy", "postgres")]
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
                logger.propagate = True

    # While it runs.

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(number: int, _: object) -> None:
            process = self._process
            if process is None:
                self._stop.set()
            elif number != signal.SIGINT:  # a terminal sends that to the command, too
                process.terminate()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _wait(self, proxy: ProxyListener, watch: Watch) -> int:
        """Return the exit status of the command, 0 without one."""
        if self._options.command and not self._launch(proxy.port):
            return _NOT_FOUND
        while not self._stop.wait(_REFRESH_SECONDS if self._options.watch else None):
            watch.figures(proxy.metrics())
        if self._process is None:
            return 0
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def _launch(self, port: int) -> bool:
        command = self._options.command
        try:
            self._process = process = subprocess.Popen(command, env=self._environment(port))
        except OSError as error:
            self._output.write(f"rds-proxy-standin: {command[0]}: {error.strerror}.\n")
            return False

        def await_end() -> None:
            process.wait()
            self._stop.set()

        threading.Thread(target=await_end, daemon=True).start()
        return True

    def _environment(self, port: int) -> dict[str, str]:
        """Return what leads a command through the stand-in, and nothing that would lead it past."""
        host, user = self._options.host, self._backend.user
        password = self._password if self._keys is None else self._keys.token(host=host, port=port, user=user)
        return {
            **{name: value for name, value in os.environ.items() if name not in ("PGHOSTADDR", "PGSERVICE")},
            **(self._keys.environment() if self._keys is not None else {}),
            "PGHOST": host,
            "PGPORT": str(port),
            "PGUSER": user,
            "PGPASSWORD": password,
            "PGDATABASE": self._backend.database,
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": str(self._ca_file),
            "DATABASE_URL": self._backend.url(host=host, port=port, ca_file=self._ca_file, password=password),
        }

    # After.

    def _conclude(self, proxy: ProxyListener, pins: PinLog, status: int) -> int:
        report = proxy.report()
        clients = report.counts.client_connections_setup_succeeded
        entries = pins.entries
        if self._options.report is not None:
            content = {
                "clients": clients,
                "pinned_sessions": report.metrics.pins,
                "borrow_timeouts": report.metrics.borrow_timeouts,
                "refused_logins": report.metrics.refused_logins,
                "pins": [entry.as_json() for entry in entries],
                "further_pins": pins.beyond,
            }
            self._options.report.write_text(json.dumps(content, indent=2) + "\n")
        if not self._options.fail_on_pin:
            return status
        if entries:
            self._output.write(f"\n{pins.table()}\n")
        elif clients == 0:
            self._output.write("No client logged in through the stand-in, so nothing is known about pins.\n")
        else:
            self._output.write(f"Nothing pinned. Clients that logged in through the stand-in: {clients}.\n")
        return status or (PINNED if entries or clients == 0 else 0)


class _WatchHandler(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.say(self.format(record))


class _OneLine(logging.Formatter):
    """Lets no word of a client steer the terminal or begin a line of the log."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(super().formatMessage(record))


def _allow_many_files() -> None:
    """Let each client have its socket: many systems begin with 1024 files, some with 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
