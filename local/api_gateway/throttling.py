"""Token buckets, as API Gateway throttles with.

API Gateway Developer Guide, "Throttle requests to your HTTP APIs": one token a request, refilled at the rate, at most
the burst. There they are targets; here they are exact.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from local.api_gateway.api import Throttle


class Buckets:
    """The buckets of one API: of its stage, and of each route with a throttle of its own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[Throttle, float, float]] = {}  # throttle, tokens, when they were counted

    def take(self, name: str, throttle: Throttle) -> bool:
        """Take a token; False when there is none. A bucket whose throttle changed begins full."""
        with self._lock:
            now = self._clock()
            known, tokens, counted = self._left.get(name, (throttle, float(throttle.burst), now))
            if known != throttle:
                tokens, counted = float(throttle.burst), now
            tokens = min(throttle.burst, tokens + (now - counted) * throttle.rate)
            taken = tokens >= 1
            self._left[name] = (throttle, tokens - taken, now)
            return taken
