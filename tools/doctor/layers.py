"""The layers, in the order in which they are judged and shown, each with its check."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from tools.doctor import access, database, deployed, inside, network, watched
from tools.doctor.finding import Finding, causes_only, unknown
from tools.doctor.site import NotJudged, Site

DEADLINE_SECONDS = 60.0

Check = Callable[[Site], Finding]

# What comes first carries what comes later.
LAYERS: Mapping[str, Check] = {
    "account": deployed.account,
    "state": deployed.state,
    "quota": deployed.quota,
    "function": deployed.function,
    "subnets": network.subnets,
    "rules": network.rules,
    "dns": inside.dns,
    "tls": inside.tls,
    "token": inside.token,
    "policy": access.policy,
    "target": database.target,
    "readers": database.readers,
    "secret": access.secret,
    "login": access.login,
    "migrations": access.migrations,
    "pending": database.pending,
    "sessions": watched.sessions,
    "certificate": inside.certificate,
    "alarms": watched.alarms,
}

_FORBIDDEN = ("AccessDenied", "Unauthorized", "NotAuthorized")


@dataclass(frozen=True)
class Layer:
    """A layer, as it was found."""

    name: str
    finding: Finding


def examine(
    site: Site, checks: Mapping[str, Check] = LAYERS, *, deadline_seconds: float = DEADLINE_SECONDS
) -> list[Layer]:
    """Run all checks at once; one that does not end in time is unknown."""
    found: dict[str, Finding] = {}

    def run(name: str, check: Check) -> None:
        found[name] = _judge(site, check)

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in checks.items()]
    end = time.monotonic() + deadline_seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = unknown(f"No answer within {deadline_seconds:.0f} s.")
    judged = causes_only({name: found.get(name, late) for name in checks})
    return [Layer(name, finding) for name, finding in judged.items()]


def _judge(site: Site, check: Check) -> Finding:
    try:
        return check(site)
    except NotJudged as reason:
        return unknown(f"Not judged: {reason}")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if any(word in code for word in _FORBIDDEN):
            return unknown(f"You may not {error.operation_name}, so it was not judged.")
        return unknown(f"AWS did not tell: {error}")
    except BotoCoreError as error:
        return unknown(f"AWS did not tell: {error}")
    except Exception as error:  # what an older function answers, or AWS newly says, must not hide the other layers
        return unknown(f"The check itself failed: {type(error).__name__}: {error}.")
