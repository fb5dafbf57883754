"""A Serverless cluster that was paused: its first connection waits, and what ran into a timeout is not wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tools.doctor.finding import Finding, unknown
from tools.doctor.site import Site

# Aurora user guide, aurora-serverless-v2-auto-pause
RESUME = "about 15 s, after a day 30 s or more"

_TIMEOUT = re.compile(r"timed out|timeout|no answer in time", re.IGNORECASE)
_STEPS = (
    "server",
    "certificate",
    "login",
    "query",
    "connection",
)  # of the functions' views, where a server must answer


def is_waking(site: Site, view: Mapping[str, Any]) -> bool:
    """Tell whether a function's way ended in a timeout at a database that was paused until then."""
    return view.get("failed") in _STEPS and bool(_TIMEOUT.search(view.get("reason", ""))) and site.paused


def waking(site: Site, reason: str) -> Finding:
    """Say that this look has woken the database, and that the next one will judge."""
    return unknown(
        f"{site.database.name} was paused (0 ACU), and this look wakes it, which takes {RESUME}: run it again. "
        f"Until then: {reason.rstrip('.')}."
    )
