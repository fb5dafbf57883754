"""Reboot an instance or a cluster, and wait until it is back: python -m tools.reboot IDENTIFIER REGION [--show].

A reboot puts in force what its parameter group says, such as max_connections. --show only says what waits for one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.database import Database, find

POLL_SECONDS = 5.0
PATIENCE_SECONDS = 900.0

# Whatever else RDS says on the way is on the way.
HOPELESS = {
    "failed": "AWS could not repair it: restore a snapshot.",
    "inaccessible-encryption-credentials": "Its KMS key is not to be used: enable the key.",
    "incompatible-network": "Its subnets or addresses do not suffice.",
    "incompatible-parameters": "Its server does not start with these parameters: lower max_connections, apply, and "
    "reboot again.",
    "storage-full": "Its storage is full: give it more.",
    "stopped": "It was stopped: start it.",
}


class RebootError(Exception):
    """The database is not there, not to be rebooted now, or not back."""


class Instance:
    """One database instance, through the API of RDS."""

    def __init__(self, identifier: str, client: Any) -> None:
        self.identifier = identifier
        self._client = client

    def describe(self) -> dict[str, Any]:
        found = self._client.describe_db_instances(DBInstanceIdentifier=self.identifier)["DBInstances"]
        return dict(found[0])

    def status(self) -> str:
        return str(self.describe()["DBInstanceStatus"])

    def reboot(self) -> None:
        self._client.reboot_db_instance(DBInstanceIdentifier=self.identifier)

    def servers(self) -> Iterator[Instance]:
        """Yield what is rebooted, one after the other."""
        yield self

    def max_connections(self, group: str) -> str:
        """Return the number in a parameter group."""
        pages = self._client.get_paginator("describe_db_parameters").paginate(DBParameterGroupName=group)
        return _max_connections(pages)

    def standing(self) -> str:
        """Say whether the parameters are in force, or wait for a reboot."""
        group = self.describe()["DBParameterGroups"][0]
        name, status = group["DBParameterGroupName"], group["ParameterApplyStatus"]
        number = self.max_connections(name)
        if status == "in-sync":
            return f"{self.identifier} runs with all that its parameter group says: max_connections is {number}."
        return f"{self.identifier}: its parameter group is {status}; in it max_connections is {number}."


class Cluster(Instance):
    """A cluster: of Aurora its readers are rebooted, then its writer; a Multi-AZ cluster is rebooted as one."""

    def describe(self) -> dict[str, Any]:
        return dict(self._found().described)

    def status(self) -> str:
        return self._found().status

    def reboot(self) -> None:
        self._client.reboot_db_cluster(DBClusterIdentifier=self.identifier)

    def servers(self) -> Iterator[Instance]:
        found = self._found()
        if not found.instances or found.writer is None:
            raise RebootError(f"{self.identifier} has no writer: wait for the failover, or make deploy.")
        if not found.aurora:
            yield self
            return
        for one in (*found.readers, found.writer):
            yield Instance(one["DBInstanceIdentifier"], self._client)

    def max_connections(self, group: str) -> str:
        pages = self._client.get_paginator("describe_db_cluster_parameters").paginate(DBClusterParameterGroupName=group)
        return _max_connections(pages)

    def standing(self) -> str:
        found = self._found()
        number = self.max_connections(found.described["DBClusterParameterGroup"])
        waiting = [
            f"{name} ({member['DBClusterParameterGroupStatus']})"
            for name, member in found.members.items()
            if member.get("DBClusterParameterGroupStatus", "in-sync") != "in-sync"
        ]
        if not waiting:
            return f"{self.identifier} runs with all that its parameter group says: max_connections is {number}."
        order = ", ".join(server.identifier for server in self.servers())
        return (
            f"{self.identifier}: its parameter group waits for {', '.join(waiting)}; "
            f"in it max_connections is {number}. Rebooted one after the other: {order}."
        )

    def _found(self) -> Database:
        return find(self._client, self.identifier, cluster=True)


def reboot(
    instance: Instance,
    *,
    say: Callable[[str], None] = print,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Reboot each server and wait; RebootError when one is not back in time, or will not be."""
    for server in instance.servers():
        _reboot(server, say, sleep, clock)
    say(instance.standing())


def _reboot(
    instance: Instance, say: Callable[[str], None], sleep: Callable[[float], None], clock: Callable[[], float]
) -> None:
    started = clock()
    instance.reboot()
    status = "rebooting"
    say(f"{instance.identifier} is rebooting; every connection is lost.")
    while status != "available":
        waited = clock() - started
        if status in HOPELESS:
            raise RebootError(f"{instance.identifier} is {status} after {waited:.0f} s. {HOPELESS[status]}")
        if waited > PATIENCE_SECONDS:
            raise RebootError(
                f"{instance.identifier} is still {status} after {waited:.0f} s. It goes on: look at its events in RDS."
            )
        sleep(POLL_SECONDS)
        status = instance.status()
        say(f"{instance.identifier} is {status} after {clock() - started:.0f} s.")


def _max_connections(pages: Iterable[dict[str, Any]]) -> str:
    parameters = [parameter for page in pages for parameter in page["Parameters"]]
    return next((p["ParameterValue"] for p in parameters if p["ParameterName"] == "max_connections"), "RDS's own")


def main(arguments: list[str]) -> str | None:
    """Do what the command line says; return what went wrong, if anything."""
    parser = argparse.ArgumentParser(prog="tools.reboot", description=__doc__.splitlines()[0])
    parser.add_argument("identifier")
    parser.add_argument("region")
    parser.add_argument("--show", action="store_true", help="only say what waits for a reboot")
    given = parser.parse_args(arguments)
    config = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard"})
    rds = boto3.client("rds", region_name=given.region, config=config)
    try:
        instance = (Cluster if find(rds, given.identifier).is_cluster else Instance)(given.identifier, rds)
        if given.show:
            print(instance.standing())
        else:
            reboot(instance)
    except (BotoCoreError, ClientError, RebootError) as error:
        return str(error)
    except KeyboardInterrupt:
        return f"Not waited for any longer; the reboot of {given.identifier} goes on."
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
