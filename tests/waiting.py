"""Wait for what comes in its own time."""

import time
from collections.abc import Callable


def await_that(condition: Callable[[], object], seconds: float = 10) -> None:
    """Return once the condition holds; AssertionError when it does not within this time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {seconds} s"
        time.sleep(0.02)
