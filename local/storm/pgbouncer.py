"""PgBouncer beside the stand-in: transaction pooling, TLS on both sides, the same number of server connections."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

from local.certificates import HostCertificate
from local.postgres.installation import Installation, find_binaries
from local.postgres.server import free_port
from local.rds_proxy.server_connection import Target

PROGRAM = shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
ABSENT = (
    "PgBouncer is not installed, so its rows are left out: "
    "apt-get install pgbouncer, dnf install pgbouncer or brew install pgbouncer"
)

_START_TIMEOUT_SECONDS = 10.0
# The end of its input, which comes when this process ends however it does, ends the pooler.
_RUN = '"$@" & read -r _; kill -KILL $!; wait'


class PgBouncer:
    """One PgBouncer, from construction until `stop`. It lets every client in: it knows no tokens."""

    def __init__(
        self, certificate: HostCertificate, target: Target, *, user: str, password: str, pool_size: int, clients: int
    ) -> None:
        assert PROGRAM is not None
        assert target.ca_file is not None
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._installation = Installation.acquire(find_binaries())  # whose user is unprivileged
        self._folder = self._installation.make_folder()
        files = {
            "client.pem": certificate.certificate.read_text(),
            "client.key": certificate.key.read_text(),
            "server-ca.pem": target.ca_file.read_text(),
            "users.txt": f'"{user}" "{password}"\n',
            "pgbouncer.ini": f"""
[databases]
* = host={target.address} port={target.port}

[pgbouncer]
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = {clients}
listen_addr = 127.0.0.1
listen_port = {self.port}
listen_backlog = 1024
unix_socket_dir =
auth_type = trust
auth_file = {self._folder}/users.txt
client_tls_sslmode = require
client_tls_cert_file = {self._folder}/client.pem
client_tls_key_file = {self._folder}/client.key
server_tls_sslmode = verify-ca
server_tls_ca_file = {self._folder}/server-ca.pem
""",
        }
        try:
            for name, content in files.items():
                self._installation.write(self._folder / name, content)
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            self._process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._installation.release()

    def _start(self) -> None:
        log = self._folder / "pgbouncer.log"
        command = ["/bin/sh", "-c", _RUN, "sh", str(PROGRAM), str(self._folder / "pgbouncer.ini")]
        with log.open("wb") as file:
            self._process = self._installation.spawn(command, folder=self._folder, stdin=subprocess.PIPE, output=file)
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"PgBouncer did not start:\n{log.read_text(errors='replace')}")


def version() -> str | None:
    """Return the version of the PgBouncer of this machine, None where there is none."""
    if PROGRAM is None:
        return None
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0].removeprefix("PgBouncer ") if said else "unknown"
