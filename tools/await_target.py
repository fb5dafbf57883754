"""Wait until a proxy can reach its database: terraform output -json | python -m tools.await_target.

Without an output `proxy` there is nothing to wait for.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.outputs import region, values

TIMEOUT_SECONDS = 30 * 60
POLL_SECONDS = 5
REMIND_SECONDS = 60

IN_PLAIN_WORDS = {
    "REGISTERING": "AWS is connecting the proxy with the database",
    "PENDING_PROXY_CAPACITY": "AWS is still making room for the proxy, which takes minutes",
    "UNREACHABLE": "the proxy cannot reach the database: look at the security groups between them",
    "CONNECTION_FAILED": "the database answers but accepts no connection: is it available, has it free connections?",
    "AUTH_FAILURE": "the database refuses the password in the proxy's secret: make migrate sets it again",
    "INVALID_REPLICATION_STATE": "the database replicates from another one, which a proxy does not support",
    "PROMOTED": "the database was promoted, and the proxy has yet to follow",
}


class NotAvailableError(Exception):
    """The proxy has no usable target; the message says why and what to do."""


def await_target(
    rds: Any,
    proxy: str,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = print,
) -> None:
    """Return when every target of the proxy is available; say what it waits for whenever that changes."""
    began = clock()
    said, said_at = "", began
    while waits_for := _waits_for(rds, proxy):
        now = clock()
        if now - began >= timeout_seconds:
            message = f"{proxy} is not available after {now - began:.0f} s: {waits_for}. Then: make deploy again."
            raise NotAvailableError(message)
        if waits_for != said or now - said_at >= REMIND_SECONDS:
            say(f"{now - began:4.0f} s  waiting for the proxy {proxy}: {waits_for}")
            said, said_at = waits_for, now
        sleep(POLL_SECONDS)
    if said:
        say(f"{clock() - began:4.0f} s  the proxy {proxy} is available")


def _waits_for(rds: Any, proxy: str) -> str:
    """Say in plain words why the proxy is not available; nothing when it is."""
    targets = rds.describe_db_proxy_targets(DBProxyName=proxy)["Targets"]
    if not targets:
        raise NotAvailableError(f"The proxy {proxy} has no target. make deploy registers the database again.")
    led_to = [target for target in targets if target.get("Type") != "TRACKED_CLUSTER"]
    if not led_to:
        return "the cluster has no instance yet"
    for health in (target.get("TargetHealth", {}) for target in led_to):
        state, reason = health.get("State", "unknown"), health.get("Reason")
        if state != "AVAILABLE":
            words = IN_PLAIN_WORDS.get(reason or state, "AWS gives no reason")
            details = f"{state} {reason or ''}".strip()
            description = f": {health['Description']}" if reason not in {None, "PENDING_PROXY_CAPACITY"} else ""
            return f"{words} ({details}{description})"
    return ""


def main(outputs: str) -> str | None:
    """Wait for the proxy among the outputs of a root; return what went wrong, if anything."""
    found = values(outputs)
    if not found.get("proxy"):
        return None
    try:
        await_target(boto3.client("rds", region_name=region(found)), found["proxy"])
    except NotAvailableError as error:
        return str(error)
    except (BotoCoreError, ClientError) as error:
        return f"The proxy {found['proxy']} could not be looked at: {error}"
    return None


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main(sys.stdin.read()))
