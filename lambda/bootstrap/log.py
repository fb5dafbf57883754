"""One JSON object a line on standard output, which Lambda sends to the log group."""

import json


def log(event: str, **fields: object) -> None:
    """Write a line; callers pass names and outcomes, never a login."""
    print(json.dumps({"event": event, **fields}, default=str), flush=True)
