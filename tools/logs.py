"""Print what an environment logged, the oldest line first: terraform output -json | python -m tools.logs [--of …].

Of all four sources, or of one of them: function, bootstrap, proxy, database.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.outputs import region, values
from tools.pipe import quietly

SOURCES = ("function", "bootstrap", "proxy", "database")
SINCE_SECONDS = 3600
MOST_LINES = 1000
POLL_SECONDS = 2.0
# CloudWatch shows lines seconds after they were written: so far back is looked again, and what was seen left out.
LATE_SECONDS = 30

Line = tuple[int, str, str]  # milliseconds, source, text


def groups(found: Mapping[str, Any], *, of_cluster: bool = False) -> dict[str, str]:
    """Return the log group of each source that an environment has, from its outputs."""
    kind = "cluster" if of_cluster else "instance"
    names = {
        "function": found.get("log_group") or _of_function(found.get("function_arn")),
        "bootstrap": _of_function(found.get("bootstrap_arn")),
        "proxy": found.get("proxy") and f"/aws/rds/proxy/{found['proxy']}",
        "database": found.get("database_identifier") and f"/aws/rds/{kind}/{found['database_identifier']}/postgresql",
    }
    return {source: str(name) for source, name in names.items() if name}


class Tail:
    """The lines of some log groups, each given once."""

    def __init__(self, logs: Any, wanted: Mapping[str, str], *, since: float) -> None:
        self._logs = logs
        self._wanted = wanted
        self._since = int(since * 1000)
        self._seen: dict[str, int] = {}

    def lines(self) -> list[Line]:
        """Return what is new, in the order of time; of a group that does not exist, nothing."""
        new = [line for source, group in self._wanted.items() for line in self._new(source, group)]
        found = sorted(new, key=lambda line: line[0])
        if found:
            self._since = max(self._since, found[-1][0] - LATE_SECONDS * 1000)
        self._seen = {event: at for event, at in self._seen.items() if at >= self._since}
        return found

    def _new(self, source: str, group: str) -> Iterator[Line]:
        pages = self._logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=self._since)
        try:
            for page in pages:
                for event in page["events"]:
                    if event["eventId"] not in self._seen:
                        self._seen[event["eventId"]] = event["timestamp"]
                        yield event["timestamp"], source, event["message"].rstrip()
        except self._logs.exceptions.ResourceNotFoundException:
            return


def follow(
    tail: Tail, *, sleep: Callable[[float], None] = time.sleep, say: Callable[[Line], None] | None = None
) -> None:
    """Print what is new, again and again, until interrupted."""
    while True:
        for line in tail.lines():
            (say or _print)(line)
        sleep(POLL_SECONDS)


def main(arguments: Sequence[str]) -> str | None:
    """Print the last hour's lines, and with --follow what comes; return what went wrong, if anything."""
    parser = argparse.ArgumentParser(prog="python -m tools.logs", description=__doc__)
    parser.add_argument("--of", choices=SOURCES, help="only this source")
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")
    given = parser.parse_args(arguments)
    found = values(sys.stdin.read())
    sources = groups(found).keys()
    if not sources or (given.of and given.of not in sources):
        return f"This environment has no {given.of}." if sources else "Nothing is deployed here."
    logs = boto3.client("logs", region_name=region(found))
    try:
        of_cluster = given.of in (None, "database") and "database" in sources and _is_cluster(logs, found)
        all_groups = groups(found, of_cluster=of_cluster)
        wanted = {source: group for source, group in all_groups.items() if given.of in (None, source)}
        tail = Tail(logs, wanted, since=time.time() - SINCE_SECONDS)
        lines = tail.lines()
        for line in lines[-MOST_LINES:]:
            _print(line)
        if not lines:
            print(f"No line within the last hour in {', '.join(wanted.values())}.", file=sys.stderr)
        if given.follow:
            follow(tail)
    except KeyboardInterrupt:
        return None
    except (BotoCoreError, ClientError) as error:
        return f"The logs could not be read: {error}"
    return None


def _is_cluster(logs: Any, found: Mapping[str, Any]) -> bool:
    """Tell whether the database logs as a cluster does."""
    name = groups(found, of_cluster=True)["database"]
    there = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(group["logGroupName"] == name for group in there)


def _print(line: Line) -> None:
    milliseconds, source, text = line
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    print(f"{at:%H:%M:%S}.{milliseconds % 1000:03} {source:<9} {text}", flush=True)


def _of_function(arn: Any) -> str | None:
    return f"/aws/lambda/{arn.split(':')[6]}" if isinstance(arn, str) and arn.startswith("arn:") else None


if __name__ == "__main__":
    quietly(main, sys.argv[1:])
