"""End quietly when whoever reads the output has read enough, as in `make invoke | head`."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

P = ParamSpec("P")


def quietly(main: Callable[P, int | str | None], *arguments: P.args, **named: P.kwargs) -> NoReturn:
    """Exit as sys.exit(main(…)) would, and as after success where standard output is closed."""
    try:
        status = main(*arguments, **named)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # else Python complains when it flushes at its end
        status = None
    sys.exit(status)
