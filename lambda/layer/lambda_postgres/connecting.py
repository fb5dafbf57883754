"""One attempt to connect, and what its failure means."""

from __future__ import annotations

import _thread
import time
from typing import TYPE_CHECKING

import psycopg2

from .errors import CannotConnect, Error, LoginRefused, PoolExhausted

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from .login import Login, Logins
    from .settings import Settings

    Factory = Callable[..., Connection] | None

HALF_OPEN_MILLISECONDS = 10_000

# libpq gives no SQLSTATE for a failed connect, only the server's text. First match wins.
_MEANINGS: tuple[tuple[str, str, type[CannotConnect], bool], ...] = (
    ("too many clients already", "53300", PoolExhausted, True),
    ("remaining connection slots are reserved", "53300", PoolExhausted, True),
    ("too many connections for", "53300", PoolExhausted, True),
    ("maximum number of client connections", "53300", PoolExhausted, True),
    ("Rate of connection to proxy exceeded", "53300", PoolExhausted, True),
    ("too many competing requests", "53300", PoolExhausted, True),
    # PgBouncer's; before the refusals, since the reason that it may quote is that of its own login.
    ("no more connections allowed", "08P01", PoolExhausted, True),
    ("query_wait_timeout", "08P01", PoolExhausted, True),
    ("server login has been failing", "08P01", CannotConnect, True),
    ("Timed-out waiting to acquire database connection", "08000", PoolExhausted, True),
    ("the database system is", "57P03", CannotConnect, True),
    ("terminating connection due to administrator command", "57P01", CannotConnect, True),
    ("password authentication failed", "28P01", LoginRefused, False),
    ("The password that was provided", "28P01", LoginRefused, False),
    ("IAM authentication failed", "28P01", LoginRefused, False),
    ("PAM authentication failed", "28000", LoginRefused, False),
    ("no credentials for the role", "28000", LoginRefused, False),
    ("IAM authentication is allowed only", "28000", LoginRefused, False),
    ("RDS supports only IAM", "28000", LoginRefused, False),
    ("requires TLS", "28000", LoginRefused, False),
    ("no pg_hba.conf entry", "28000", LoginRefused, False),
    ("is not permitted to log in", "28000", LoginRefused, False),
    ('role "', "28000", LoginRefused, False),
    ("FATAL:", "", CannotConnect, False),
    ("certificate", "", CannotConnect, False),
    ("does not support SSL", "", CannotConnect, False),
    ("", "08001", CannotConnect, True),  # nothing from the server: refused, reset, timed out, no address
)


def parameters(settings: Settings, login: Login, *, timeout_seconds: int) -> dict[str, object]:
    """Return what libpq is told: the one home of it, for every driver."""
    return {
        "host": settings.host,
        "port": settings.port,
        "dbname": settings.database,
        "user": login.user,
        "password": login.password,
        "sslmode": "verify-full",
        "sslrootcert": settings.ca_file,
        "gssencmode": "disable",
        "application_name": settings.application_name,
        "connect_timeout": timeout_seconds,
        # A peer that is gone is noticed after 10 s, while sending and while waiting for an answer: libpq's and the
        # kernel's own limits are minutes.
        "keepalives_idle": 4,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": HALF_OPEN_MILLISECONDS,
    }


def try_logins(settings: Settings, logins: Logins, *, timeout_seconds: int, factory: Factory) -> Connection | Error:
    """Open a connection with the first login that the server takes, or return why not.

    Returned and not raised: these frames, and psycopg2's below them, hold the password, which a traceback would show.
    """
    outcome: Connection | Error | None = None
    where = ""
    try:
        for login in logins.candidates():
            outcome = _connect(settings, parameters(settings, login, timeout_seconds=timeout_seconds), factory)
            if not isinstance(outcome, LoginRefused):
                break
    except Error as error:
        outcome = error.with_traceback(None)
    except Exception as error:  # the text of an error that nobody foresaw may hold anything
        where = _describe(error)
    if outcome is None:
        return CannotConnect(settings.target, where)
    if isinstance(outcome, LoginRefused) and outcome.sqlstate:
        outcome.add_note(logins.hint)
    return outcome


class Attempt:
    """One attempt to connect, in a thread of its own.

    So whoever waits can stop waiting, whatever keeps the attempt: a resolver that is mute, several addresses, a server
    that is. What the function imports meanwhile runs meanwhile. And no traceback of the function's own thread, in which
    alone signal handlers run, goes through frames that hold a password.
    """

    def __init__(
        self,
        reason: str,
        work: Callable[[], Connection | Error],
        *,
        clock: Callable[[], float],
        lasts: float,
        report: Callable[[Attempt], None] | None = None,
    ) -> None:
        self.reason = reason
        self.outcome: Connection | Error | None = None
        self.milliseconds = self.ended_at = 0.0
        self.reported = False
        self._work = work
        self._clock = clock
        self._late_at = clock() + lasts
        self._abandoned = False
        self._report = report
        self._running = _thread.allocate_lock()
        self._running.acquire()
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError as error:  # the interpreter is ending, or the system has no room for a thread
            self._end(Error(f"no thread to connect in: {error}"))

    def wait(self, seconds: float) -> bool:
        """Tell whether it ended within this time."""
        if not self._running.acquire(timeout=max(0.0, seconds)):
            return False
        self._running.release()
        return True

    @property
    def is_stuck(self) -> bool:
        """Tell whether it should have ended long ago: the environment was frozen in the middle."""
        return self.outcome is None and self._clock() > self._late_at

    def abandon(self) -> None:
        """Let its connection be closed as soon as there is one."""
        self._abandoned = True
        self._close()

    def _run(self) -> None:
        outcome: Connection | Error = Error("the thread that connected was ended")
        started = time.monotonic()
        try:
            outcome = self._work()
        finally:
            self.milliseconds = (time.monotonic() - started) * 1000
            self._end(outcome)

    def _end(self, outcome: Connection | Error) -> None:
        self.ended_at = self._clock()
        self.outcome = outcome
        if self._abandoned:
            self._close()
        try:
            if self._report is not None:
                self._report(self)
        finally:
            self._running.release()

    def _close(self) -> None:
        if self.outcome is not None and not isinstance(self.outcome, Error):
            self.outcome.close()


def _connect(settings: Settings, arguments: dict[str, object], factory: Factory) -> Connection | CannotConnect:
    try:
        connection: Connection = psycopg2.connect(connection_factory=factory, **arguments)  # type: ignore[call-overload]
    except psycopg2.Error as error:
        return _explain(settings, error)
    if (
        settings.reader_host
        and settings.endpoint == "writer"
        and connection.info.parameter_status("in_hot_standby") == "on"
    ):
        connection.close()
        cause = "this server is a standby: a failover has not reached the address yet, or PGHOST is a reader's"
        return CannotConnect(settings.target, cause, sqlstate="25006", transient=True)
    return connection


def _explain(settings: Settings, error: psycopg2.Error) -> CannotConnect:
    text = "; ".join(str(error).split("\n")).strip("; ")
    sqlstate, kind, transient = next(row[1:] for row in _MEANINGS if row[0] in text)
    explained = kind(settings.target, text, sqlstate=sqlstate or None, transient=transient)
    explained.__cause__ = error.with_traceback(None)
    return explained


def _describe(error: BaseException) -> str:
    """Name the kind of an error and where it came from, without its text and its traceback."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = None if traceback is None else traceback.tb_frame.f_code
    return type(error).__name__ + ("" if code is None else f" in {code.co_name} ({code.co_filename})")
