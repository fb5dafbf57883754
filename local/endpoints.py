"""Where the host names of the account lead on this machine."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from local.aws.reachability import reachable
from local.certificates import Authority, Certificates
from local.postgres.wire import Listener

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """Where a host name leads to, and from which security groups it may be reached. `owner` is an ARN."""

    owner: str
    listener: Listener
    authority: Authority
    security_group_ids: tuple[str, ...]
    port: int


class Endpoints:
    """The endpoints by host name, kept in a file too, for `make psql`."""

    def __init__(self, file: Path, certificates: Certificates) -> None:
        self._file = file
        self._certificates = certificates
        self._by_host: dict[str, Endpoint] = {}
        self._writing = threading.Lock()
        self._nowhere = socket.create_server(("127.0.0.1", 0))
        self._write()

    @property
    def nowhere(self) -> int:
        """A port that never answers, as packets do that a security group drops."""
        return int(self._nowhere.getsockname()[1])

    def get(self, host: str) -> Endpoint | None:
        return self._by_host.get(host)

    def hosts_of(self, owner: str) -> list[str]:
        return [host for host, endpoint in list(self._by_host.items()) if endpoint.owner == owner]

    def lead(self, ways: dict[str, Endpoint]) -> None:
        """Let these host names lead there."""
        self._by_host.update(ways)
        self._write()

    def close(self, hosts: Iterable[str]) -> None:
        """Stop the listeners of these host names, one after the other."""
        for host in hosts:
            if endpoint := self._by_host.pop(host, None):
                endpoint.listener.stop()
        self._write()

    def port_for(self, name: str, security_group_ids: tuple[str, ...], host: str) -> int:
        """Return where a client of these security groups finds a host: PGHOSTADDR is one for all, the port tells."""
        endpoint = self._by_host.get(host)
        if endpoint is not None and reachable(security_group_ids, endpoint.security_group_ids, endpoint.port):
            return endpoint.listener.port
        _log.warning("%s cannot reach %s: no path of security groups", name, host)
        return self.nowhere

    def stop(self) -> None:
        """Stop every listener and remove the file."""
        for endpoint in self._by_host.values():
            endpoint.listener.stop()
        self._nowhere.close()
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        with self._writing:
            ways = {
                host: {
                    "port": endpoint.listener.port,
                    "ca_file": str(self._certificates.ca_file(endpoint.authority)),
                }
                for host, endpoint in list(self._by_host.items())
            }
            unfinished = self._file.with_suffix(".tmp")  # whoever reads meanwhile finds what was there before
            unfinished.touch(mode=0o600)
            unfinished.write_text(json.dumps(ways, indent=2) + "\n")
            unfinished.rename(self._file)


def resource_prefix(arn: str, resource_id: str) -> str:
    """Return the ARN that policies grant rds-db:connect on, without the user."""
    _, partition, _, region, account, _ = arn.split(":", 5)
    return f"arn:{partition}:rds-db:{region}:{account}:dbuser:{resource_id}"
