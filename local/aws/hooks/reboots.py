"""Reboots of instances and clusters: answered at once, and over when the servers are back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)


def begin(holder: Any, name: str, restart: Callable[[], None]) -> None:
    """Let moto's instance or cluster be `rebooting` until its servers have restarted."""
    holder.status = "rebooting"

    def run() -> None:
        try:
            restart()
        except Exception:
            _log.exception("%s does not start again", name)
            holder.status = "incompatible-parameters"
        else:
            holder.status = "available"

    threading.Thread(target=run, name=f"reboot of {name}", daemon=True).start()
