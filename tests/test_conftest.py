"""What the tests inherit does not decide whether they pass."""

import subprocess
import sys

from tests.plans import ROOT

ASK = """
import signal, tests.conftest
tests.conftest.pytest_configure()
import subprocess, sys
code = "from signal import *; print(getsignal(SIGINT) is default_int_handler, pthread_sigmask(SIG_BLOCK, ()))"
subprocess.run([sys.executable, "-c", code], check=True)
"""


def test_an_ignored_or_blocked_interrupt_is_not_handed_on() -> None:
    blocked = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]); os.execv(sys.executable,"
    )
    start = f"{blocked} [sys.executable, '-c', {ASK!r}])"
    ignoring = ["sh", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable, "-c", start]
    asked = subprocess.run(ignoring, cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout == "True set()\n"
