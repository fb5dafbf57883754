"""What the command is told: options in the names of RDS Proxy's API, with its defaults and its ranges."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .pool import Secret

USAGE = 2  # the exit status of a wrong option

_DESCRIPTION = """Put a stand-in for RDS Proxy in front of a PostgreSQL server.

Without a URL the server is that of DATABASE_URL, or of libpq's PGHOST, PGUSER, PGPASSWORD and so on. With
"-- COMMAND" the command is run with those variables, and DATABASE_URL, leading through the stand-in."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, checked against each other; `command` is what follows the first "--"."""
    arguments = list(arguments)
    command: list[str] | None = None
    if "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
    parser = _parser()
    options = parser.parse_args(arguments)
    if command is not None and not command:
        parser.error('after "--" a command must follow.')
    options.command = command or []
    most, idle = options.max_connections_percent, options.max_idle_connections_percent
    if idle is not None and most is None:
        parser.error("--max-idle-connections-percent needs --max-connections-percent: RDS takes the two together.")
    options.max_connections_percent = most = 100 if most is None else most
    options.max_idle_connections_percent = idle = most // 2 if idle is None else idle
    if idle > most:
        parser.error(
            f"--max-idle-connections-percent must be from 0 to --max-connections-percent, which is {most}, not {idle}."
        )
    if options.port is None:
        options.port = 0 if options.command else 6432
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} See --help.", file=sys.stderr)
        sys.exit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rds-proxy-standin",
        usage="%(prog)s [URL] [options] [-- COMMAND …]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="postgresql://user:password@host:port/database")

    proxy = parser.add_argument_group("of the proxy, as RDS has them")
    proxy.add_argument("--require-tls", action="store_true", help="refuse clients without TLS (RDS: false)")
    proxy.add_argument("--idle-client-timeout", **_range(1, 28_800), default=1800, help="seconds (1800)")
    proxy.add_argument("--iam-auth", type=_iam_auth, default="DISABLED", metavar="DISABLED|REQUIRED")
    proxy.add_argument(
        "--client-password-auth-type",
        type=_one_of("POSTGRES_SCRAM_SHA_256", "POSTGRES_MD5"),
        default="POSTGRES_SCRAM_SHA_256",
        metavar="POSTGRES_SCRAM_SHA_256|POSTGRES_MD5",
    )
    proxy.add_argument(
        "--secrets",
        type=_secrets,
        default=[],
        metavar="FILE",
        help='more users, each as in its secret: [{"username": …, "password": …}]',
    )

    pool = parser.add_argument_group("of the connection pool, as RDS has them")
    pool.add_argument("--max-connections-percent", **_range(1, 100), help="of the server's max_connections (100)")
    pool.add_argument("--max-idle-connections-percent", **_range(0, 100), help="(half of the above)")
    pool.add_argument(
        *("--connection-borrow-timeout", "--borrow-timeout"), **_range(0, 300), default=120, help="seconds (120)"
    )
    pool.add_argument("--init-query", default="", metavar="SQL", help="runs on each new server connection")
    pool.add_argument("--session-pinning-filters", type=_no_filters, help=argparse.SUPPRESS)

    limits = parser.add_argument_group("limits that RDS has, with figures that it does not publish (none)")
    limits.add_argument("--max-client-connections", **_range(1, 1_000_000))
    limits.add_argument("--max-new-connections-per-second", **_range(1, 1_000_000))

    place = parser.add_argument_group("where it listens")
    place.add_argument("--port", **_range(0, 65_535), help="0 is any free one (6432; with a command 0)")
    place.add_argument("--host", default="localhost", metavar="NAME", help="what clients call it (localhost)")
    place.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="(127.0.0.1)")
    place.add_argument("--ca-file", type=Path, metavar="FILE", help="write the authority's certificate there, too")

    seen = parser.add_argument_group("what it shows")
    seen.add_argument("--watch", action="store_true", help="show clients, connections and pins as they are")
    seen.add_argument("--fail-on-pin", action="store_true", help="list what pinned at the end, and exit with 1")
    seen.add_argument("--report", type=Path, metavar="FILE", help="write what pinned as JSON at the end")
    seen.add_argument(
        "--ignore-named-statements",
        action="store_true",
        help="let prepared statements that the driver names not count: AWS may share connections there",
    )
    return parser


def _range(least: int, most: int) -> dict[str, Any]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}.")
        return int(text)

    return {"type": number, "metavar": "N"}


def _one_of(*values: str) -> Callable[[str], str]:
    def value(text: str) -> str:
        if text.upper() not in values:
            raise argparse.ArgumentTypeError(f"must be {' or '.join(values)}, not {text!r}.")
        return text.upper()

    return value


def _iam_auth(text: str) -> str:
    if text.upper() == "ENABLED":
        raise argparse.ArgumentTypeError("ENABLED is for SQL Server only; for PostgreSQL it is DISABLED or REQUIRED.")
    return _one_of("DISABLED", "REQUIRED")(text)


def _no_filters(_: str) -> NoReturn:
    raise argparse.ArgumentTypeError("RDS Proxy has no session pinning filters for PostgreSQL: leave it out.")


def _secrets(text: str) -> list[Secret]:
    """Read secrets as Secrets Manager keeps them for RDS Proxy: one, or a list; other keys are ignored."""
    try:
        content = json.loads(Path(text).read_text())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot be read: {text}: {error.strerror}.") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not JSON.") from error
    listed = content if isinstance(content, list) else [content]
    if not all(
        isinstance(one, dict) and all(isinstance(one.get(key), str) and one[key] for key in ("username", "password"))
        for one in listed
    ):
        raise argparse.ArgumentTypeError(f"{text}: each secret must have a username and a password.")
    if len(listed) > 199:  # the URL's own is one more
        raise argparse.ArgumentTypeError(f"{text} holds {len(listed)} secrets: a proxy has at most 200.")
    return [Secret(one["username"], one["password"]) for one in listed]
