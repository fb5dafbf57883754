"""PgBouncer, where it is installed: what the stand-in is measured beside, and the library tried through."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from local.certificates import HostCertificate
from local.postgres.installation import Installation, find_binaries
from local.postgres.server import free_port

PROGRAM = shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
ABSENT = (
    "PgBouncer is not installed, so its rows are left out: "
    "apt-get install pgbouncer, dnf install pgbouncer or brew install pgbouncer"
)

_START_TIMEOUT_SECONDS = 10.0
# The end of its input, which comes when this process ends however it does, ends the pooler.
_RUN = '"$@" & read -r _; kill -KILL $!; wait'


class PgBouncer:
    """One PgBouncer in front of a server: transaction pooling, TLS on both sides, an unprivileged user.

    `users` are names and passwords, `settings` further lines of its configuration.
    """

    def __init__(
        self,
        certificate: HostCertificate,
        ca_file: Path,
        server_port: int,
        *,
        users: Mapping[str, str],
        settings: Mapping[str, object],
    ) -> None:
        assert PROGRAM is not None
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._installation = Installation.acquire(find_binaries())  # whose user is unprivileged
        self._folder = self._installation.make_folder()
        self._log = self._folder / "pgbouncer.log"
        configuration = {
            "pool_mode": "transaction",
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "listen_backlog": 1024,
            "unix_socket_dir": "",
            "pidfile": self._folder / "pid",
            "auth_type": "scram-sha-256",
            "auth_file": self._folder / "users.txt",
            "client_tls_sslmode": "require",
            "client_tls_cert_file": self._folder / "client.pem",
            "client_tls_key_file": self._folder / "client.key",
            "server_tls_sslmode": "verify-ca",
            "server_tls_ca_file": self._folder / "server-ca.pem",
        } | dict(settings)
        files = {
            "client.pem": certificate.certificate.read_text(),
            "client.key": certificate.key.read_text(),
            "server-ca.pem": ca_file.read_text(),
            "users.txt": "".join(f'"{user}" "{password}"\n' for user, password in users.items()),
            "pgbouncer.ini": f"[databases]\n* = host=127.0.0.1 port={server_port}\n\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in configuration.items()),
        }
        try:
            for name, content in files.items():
                self._installation.write(self._folder / name, content)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The number of its process, once it listens."""
        return int((self._folder / "pid").read_text())

    def start(self) -> None:
        """Start it; return when it listens. RuntimeError with its log when it does not."""
        command = ["/bin/sh", "-c", _RUN, "sh", str(PROGRAM), str(self._folder / "pgbouncer.ini")]
        with self._log.open("ab") as log:
            self._process = self._installation.spawn(command, folder=self._folder, stdin=subprocess.PIPE, output=log)
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"PgBouncer did not start:\n{self._log.read_text(errors='replace')}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def stop(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._installation.release()


def version() -> str | None:
    """Return the version of the PgBouncer of this machine, None where there is none."""
    if PROGRAM is None:
        return None
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0].removeprefix("PgBouncer ") if said else "unknown"
