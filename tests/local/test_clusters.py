"""A cluster on the stack: a real writer, real readers, a failover, and a proxy that follows."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from botocore.exceptions import ClientError

from local.credentials import Credentials
from local.postgres.installation import PostgresError
from local.postgres.server import PostgresServer
from local.stack import Stack
from tests.waiting import await_that

from .account import Account, allow
from .data_plane import MASTER_PASSWORD, MASTER_USER, connect, token, value

MAX_CONNECTIONS = 40
IN_RECOVERY = "SELECT pg_is_in_recovery()"


class Clustered:
    """A cluster with a writer and two readers, and a proxy with an endpoint of each kind."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.aws = Account.of(stack.control_plane)
        rds, ec2 = self.aws.rds, self.aws.ec2
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.group = ec2.create_security_group(GroupName="all", Description="all", VpcId=vpc)["GroupId"]
        pair = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": self.group}]}
        ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=[pair])
        named = {"DBClusterParameterGroupName": "shop"}
        rds.create_db_cluster_parameter_group(**named, DBParameterGroupFamily="aurora-postgresql17", Description="shop")
        self.give_max_connections(MAX_CONNECTIONS)
        made = rds.create_db_cluster(
            DBClusterIdentifier="shop",
            Engine="aurora-postgresql",
            EngineVersion="17",
            MasterUsername=MASTER_USER,
            MasterUserPassword=MASTER_PASSWORD,
            DatabaseName="app",
            VpcSecurityGroupIds=[self.group],
            **named,
        )["DBCluster"]
        self.writer, self.reader = made["Endpoint"], made["ReaderEndpoint"]
        for name in ("shop-1", "shop-2", "shop-3"):
            self.add(name)
        self.proxy = self._make_proxy()

    def add(self, name: str) -> None:
        self.aws.rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.r7g.large",
            Engine="aurora-postgresql",
            DBClusterIdentifier="shop",
        )

    def give_max_connections(self, number: int) -> None:
        parameter = {"ParameterName": "max_connections", "ParameterValue": str(number), "ApplyMethod": "pending-reboot"}
        self.aws.rds.modify_db_cluster_parameter_group(DBClusterParameterGroupName="shop", Parameters=[parameter])

    def _make_proxy(self) -> str:
        read = allow("secretsmanager:GetSecretValue", "*")
        made = self.aws.proxy(
            "shop",
            RoleArn=self.aws.role("of-the-proxy", read, service="rds.amazonaws.com"),
            VpcSecurityGroupIds=[self.group],
        )
        self.aws.secretsmanager.put_secret_value(
            SecretId="shop-secret", SecretString=json.dumps({"username": MASTER_USER, "password": MASTER_PASSWORD})
        )
        self.aws.rds.modify_db_proxy_target_group(
            DBProxyName="shop",
            TargetGroupName="default",
            ConnectionPoolConfig={"MaxConnectionsPercent": 50, "ConnectionBorrowTimeout": 20},
        )
        self.aws.rds.register_db_proxy_targets(DBProxyName="shop", DBClusterIdentifiers=["shop"])
        self.proxy_id = made["DBProxyArn"].rsplit(":", 1)[1]
        return str(made["Endpoint"])

    def make_endpoint(self, name: str, role: str) -> str:
        made = self.aws.rds.create_db_proxy_endpoint(
            DBProxyName="shop",
            DBProxyEndpointName=name,
            TargetRole=role,
            VpcSubnetIds=[subnet["SubnetId"] for subnet in self.aws.ec2.describe_subnets()["Subnets"][:2]],
        )
        return str(made["DBProxyEndpoint"]["Endpoint"])

    def reading_endpoint(self) -> str:
        return self.stack.proxies.listener("shop", "readers").host_name

    def connect(self, host: str, **settings: Any) -> Any:
        """Connect where a host name of the account leads to, as the master user."""
        way = json.loads((self.stack._folder / "endpoints.json").read_text())[host]
        if way["ca_file"].endswith("proxy.pem"):
            settings.setdefault("password", self.token(host, way["port"]))
        return connect(
            host, way["port"], Path(way["ca_file"]), **{"user": MASTER_USER, "password": MASTER_PASSWORD, **settings}
        )

    def token(self, host: str, port: int) -> str:
        if not hasattr(self, "_session"):
            resource = f"arn:aws:rds-db:us-east-1:123456789012:dbuser:{self.proxy_id}/*"
            arn = self.aws.role("of-the-function", allow("rds-db:connect", resource))
            self._session = self.aws.sts.assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"]
        session = self._session
        return token(
            host, port, MASTER_USER,
            Credentials(
                access_key_id=session["AccessKeyId"],
                secret_access_key=session["SecretAccessKey"],
                session_token=session["SessionToken"],
                expires_at=datetime.datetime.max.replace(tzinfo=datetime.UTC),
                principal_arn="",
            ),
        )  # fmt: skip

    def ask(self, host: str, question: str) -> Any:
        with self.connect(host) as connection:
            return value(connection, question)

    def member(self, name: str) -> str:
        return str(self.aws.describe_instance(name)["Endpoint"]["Address"])

    def writers(self) -> list[str]:
        [found] = self.aws.rds.describe_db_clusters(DBClusterIdentifier="shop")["DBClusters"]
        return [member["DBInstanceIdentifier"] for member in found["DBClusterMembers"] if member["IsClusterWriter"]]

    def catch_up(self) -> None:
        cluster = self.stack.databases.cluster("shop")
        for reader in cluster.readers:
            reader.catch_up(cluster.writer)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clustered]:
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        shop = Clustered(stack)
        with shop.connect(shop.writer) as connection:
            connection.cursor().execute("CREATE TABLE ledger AS SELECT 0 AS n")
        shop.catch_up()
        yield shop


def name_of_server(shop: Clustered, host: str) -> str:
    return str(shop.ask(host, "SELECT current_setting('cluster_name')"))


def at_once(shop: Clustered, host: str) -> list[str]:
    """Name the servers that serve four transactions at the same time."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(4):
            cursor = stack.enter_context(shop.connect(host)).cursor()
            cursor.execute("BEGIN")
            cursor.execute("SELECT current_setting('cluster_name')")
            found.append(str(cursor.fetchone()[0]))
        return sorted(found)


def test_the_endpoints_lead_to_the_writer_to_each_reader_in_turn_and_to_each_member(shop: Clustered) -> None:
    assert name_of_server(shop, shop.writer) == "shop-1"
    assert sorted(name_of_server(shop, shop.reader) for _ in range(4)) == ["shop-2", "shop-2", "shop-3", "shop-3"]
    for member in ("shop-1", "shop-2", "shop-3"):
        assert name_of_server(shop, shop.member(member)) == member
    assert shop.ask(shop.reader, "SELECT n FROM ledger") == 0
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        shop.ask(shop.reader, "INSERT INTO ledger VALUES (1) RETURNING n")


def test_each_endpoint_of_the_proxy_leads_to_its_kind_with_a_token_of_its_own(shop: Clustered) -> None:
    more, readers = shop.make_endpoint("more", "READ_WRITE"), shop.make_endpoint("readers", "READ_ONLY")
    assert [shop.ask(host, IN_RECOVERY) for host in (shop.proxy, more, readers)] == [False, False, True]
    port = json.loads((shop.stack._folder / "endpoints.json").read_text())[readers]["port"]
    with pytest.raises(psycopg2.OperationalError, match="IAM authentication failed"):
        shop.connect(readers, password=shop.token(shop.proxy, port))
    listeners = [shop.stack.proxies.listener("shop", name) for name in ("default", "more", "readers")]
    assert [listener.metrics().max_server_connections for listener in listeners] == [20, 20, 40]
    assert listeners[0].pool is listeners[1].pool
    assert at_once(shop, readers) == ["shop-2", "shop-2", "shop-3", "shop-3"]
    shop.aws.rds.delete_db_proxy_endpoint(DBProxyEndpointName="more")
    assert more not in json.loads((shop.stack._folder / "endpoints.json").read_text())


def test_a_reader_lags_until_it_is_told_to_follow(shop: Clustered) -> None:
    reader, before = shop.member("shop-2"), shop.ask(shop.writer, "SELECT max(n) FROM ledger")
    shop.stack.begin_lag("shop", "shop-2")
    shop.ask(shop.writer, "INSERT INTO ledger SELECT max(n) + 1 FROM ledger RETURNING n")
    lag = shop.stack.databases.cluster("shop").lag_seconds()
    assert shop.ask(reader, "SELECT max(n) FROM ledger") == before
    time.sleep(0.3)
    assert shop.stack.databases.cluster("shop").lag_seconds()["shop-2"] > max(0.3, lag["shop-2"])
    shop.stack._minute_over(time.time())
    worst = shop.aws.cloudwatch.get_metric_statistics(
        Namespace="AWS/RDS",
        MetricName="AuroraReplicaLagMaximum",
        Dimensions=[{"Name": "DBClusterIdentifier", "Value": "shop"}],
        StartTime=datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5),
        EndTime=datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5),
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    assert worst[0]["Maximum"] > 300
    shop.stack.end_lag("shop", "shop-2")
    assert shop.ask(reader, "SELECT max(n) FROM ledger") == before + 1


def test_a_failover_under_load_loses_no_acknowledged_row_and_the_proxy_follows(shop: Clustered) -> None:
    acknowledged: list[int] = []
    over = threading.Event()

    def write() -> None:
        number = 1000
        while not over.is_set():
            number += 1
            try:
                shop.ask(shop.writer, f"INSERT INTO ledger VALUES ({number}) RETURNING n")
                acknowledged.append(number)
            except psycopg2.Error:
                time.sleep(0.02)

    with ThreadPoolExecutor(1) as threads, shop.connect(shop.proxy) as idle, shop.connect(shop.proxy) as busy:
        value(idle, "SELECT 1")
        busy.cursor().execute("BEGIN; INSERT INTO ledger VALUES (-1)")
        writing = threads.submit(write)
        try:
            await_that(lambda: len(acknowledged) > 3)
            shop.aws.rds.failover_db_cluster(DBClusterIdentifier="shop", TargetDBInstanceIdentifier="shop-3")
            before = len(acknowledged)
            await_that(lambda: len(acknowledged) > before)
        finally:
            over.set()
        writing.result()
        assert value(idle, IN_RECOVERY) is False
        with pytest.raises(psycopg2.OperationalError):
            value(busy, "SELECT 1")
    assert shop.writers() == ["shop-3"]
    assert name_of_server(shop, shop.writer) == name_of_server(shop, shop.proxy) == "shop-3"
    with shop.connect(shop.writer) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n FROM ledger WHERE n > 1000 OR n < 0")
        rows = {number for (number,) in cursor.fetchall()}
    assert rows >= set(acknowledged)
    assert -1 not in rows
    shop.catch_up()
    assert {name_of_server(shop, shop.reader) for _ in range(4)} == {"shop-1", "shop-2"}
    await_that(lambda: set(at_once(shop, shop.reading_endpoint())) == {"shop-1", "shop-2"})
    assert shop.ask(shop.member("shop-1"), "SELECT count(*) FROM ledger WHERE n > 1000") >= len(acknowledged)


def test_a_failover_takes_as_long_as_it_is_told_and_a_stale_address_leads_to_a_reader(shop: Clustered) -> None:
    cluster = shop.stack.databases.cluster("shop")
    cluster.failover_seconds, cluster.stale_address_seconds = 2, 2
    seen: list[tuple[float, str]] = []
    waited: list[float] = []

    def wait_through_the_proxy() -> None:
        while not failing.done():
            begun = time.monotonic()
            with contextlib.suppress(psycopg2.Error):
                shop.ask(shop.proxy, "SELECT 1")
            waited.append(time.monotonic() - begun)

    try:
        with ThreadPoolExecutor(2) as threads:
            failing = threads.submit(
                shop.aws.rds.failover_db_cluster, DBClusterIdentifier="shop", TargetDBInstanceIdentifier="shop-1"
            )
            waiting = threads.submit(wait_through_the_proxy)
            while not failing.done():
                try:
                    shop.ask(shop.writer, "INSERT INTO ledger VALUES (-2) RETURNING n")
                    seen.append((time.monotonic(), "written"))
                except psycopg2.Error as error:
                    seen.append((time.monotonic(), "a reader" if error.pgcode == "25006" else "nobody"))
                time.sleep(0.02)
            failing.result()
            waiting.result()
    finally:
        cluster.failover_seconds = cluster.stale_address_seconds = 0
    met = [who for _, who in seen]
    assert met.index("nobody") < met.index("a reader")
    stale = [moment for moment, found in seen if found == "a reader"]
    assert stale[-1] - stale[0] > 0.8
    assert max(waited) > 1.5  # the proxy needs no address
    assert name_of_server(shop, shop.writer) == "shop-1"


def test_a_failover_waits_for_what_the_reader_has_not_got_yet(shop: Clustered) -> None:
    with shop.stack.databases.cluster("shop").members["shop-2"].administrator() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_wal_receiver")
        [(receiver,)] = cursor.fetchall()
    os.kill(receiver, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        try:
            shop.ask(shop.writer, "INSERT INTO ledger VALUES (-3) RETURNING n")
            failing = threads.submit(
                shop.aws.rds.failover_db_cluster, DBClusterIdentifier="shop", TargetDBInstanceIdentifier="shop-2"
            )
            time.sleep(0.5)
            assert not failing.done()
        finally:
            os.kill(receiver, signal.SIGCONT)
        failing.result()
    assert name_of_server(shop, shop.writer) == "shop-2"
    assert shop.ask(shop.writer, "SELECT count(*) FROM ledger WHERE n = -3") == 1
    shop.aws.rds.failover_db_cluster(DBClusterIdentifier="shop", TargetDBInstanceIdentifier="shop-1")


def test_a_failover_to_a_standby_that_has_not_all_is_undone(shop: Clustered, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(_: PostgresServer, primary: PostgresServer) -> None:
        raise PostgresError(f"not all of {primary.name}'s data")

    monkeypatch.setattr(PostgresServer, "inherit", lacks)
    [writer] = shop.writers()
    with pytest.raises(ClientError, match="not all of"):
        shop.aws.rds.failover_db_cluster(DBClusterIdentifier="shop")
    assert shop.writers() == [writer]
    assert name_of_server(shop, shop.writer) == writer
    assert shop.ask(shop.writer, IN_RECOVERY) is False


def test_a_failover_whose_promotion_fails_leaves_the_old_writer_writing(
    shop: Clustered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_not(self: PostgresServer) -> None:
        raise PostgresError(f"{self.name} was not promoted")

    monkeypatch.setattr(PostgresServer, "promote", is_not)
    [writer] = shop.writers()
    with pytest.raises(ClientError, match="was not promoted"):
        shop.aws.rds.failover_db_cluster(DBClusterIdentifier="shop")
    assert shop.writers() == [writer]
    assert shop.ask(shop.writer, "INSERT INTO ledger VALUES (-4) RETURNING n") == -4


def test_a_reader_that_died_is_not_promoted_and_a_failover_brings_it_back(shop: Clustered) -> None:
    cluster = shop.stack.databases.cluster("shop")
    [writer] = shop.writers()
    dead, alive = sorted({"shop-1", "shop-2", "shop-3"} - {writer})
    os.kill(cluster.members[dead].pid or 0, signal.SIGKILL)
    await_that(lambda: not cluster.members[dead].running)
    with pytest.raises(ClientError, match=f"no reader {dead} that runs"):
        shop.aws.rds.failover_db_cluster(DBClusterIdentifier="shop", TargetDBInstanceIdentifier=dead)
    assert shop.writers() == [writer]
    shop.aws.rds.failover_db_cluster(DBClusterIdentifier="shop", TargetDBInstanceIdentifier=alive)
    assert shop.writers() == [alive] == [name_of_server(shop, shop.writer)]
    shop.catch_up()
    assert {name_of_server(shop, shop.reader) for _ in range(4)} == {dead, writer}
    shop.aws.rds.failover_db_cluster(DBClusterIdentifier="shop", TargetDBInstanceIdentifier=writer)


def test_a_function_is_led_to_the_reader_where_its_groups_let_it(shop: Clustered) -> None:
    ways = json.loads((shop.stack._folder / "endpoints.json").read_text())
    variables = {"PGHOST": shop.proxy, "PGHOST_READER": shop.reading_endpoint()}

    def led(*groups: str) -> tuple[str, str]:
        function: Any = SimpleNamespace(name="f", layers=(), region="us-east-1", security_group_ids=groups)
        found = shop.stack._lead_here(function, variables)
        return found["PGPORT"], found["PGPORT_READER"]

    there = tuple(str(ways[host]["port"]) for host in variables.values())
    assert led(shop.group) == there
    assert not set(led()) & set(there)


def test_a_reader_that_is_rebooted_takes_more_connections_and_a_proxy_knows(shop: Clustered) -> None:
    shop.give_max_connections(MAX_CONNECTIONS + 20)
    shop.aws.rds.reboot_db_instance(DBInstanceIdentifier="shop-3")
    await_that(lambda: shop.aws.describe_instance("shop-3")["DBInstanceStatus"] == "available")
    shown = {name: shop.ask(shop.member(name), "SHOW max_connections") for name in ("shop-1", "shop-2", "shop-3")}
    assert shown == {"shop-1": "40", "shop-2": "40", "shop-3": "60"}
    assert shop.stack.proxies.listener("shop", "readers").metrics().max_server_connections == 20 + 30


def test_a_cluster_that_was_stopped_goes_on_with_its_data(shop: Clustered) -> None:
    rows = shop.ask(shop.writer, "SELECT count(*) FROM ledger")
    shop.aws.rds.stop_db_cluster(DBClusterIdentifier="shop")
    with pytest.raises(psycopg2.OperationalError):
        shop.connect(shop.writer)
    shop.aws.rds.start_db_cluster(DBClusterIdentifier="shop")
    shop.catch_up()
    assert [shop.ask(host, "SELECT count(*) FROM ledger") for host in (shop.writer, shop.reader)] == [rows, rows]


def test_a_restored_cluster_has_the_rows_and_the_password_that_rds_manages_and_rotates(shop: Clustered) -> None:
    rds = shop.aws.rds
    rows = shop.ask(shop.writer, "SELECT count(*) FROM ledger")
    rds.create_db_cluster_snapshot(DBClusterIdentifier="shop", DBClusterSnapshotIdentifier="kept")
    rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier="again", SnapshotIdentifier="kept", Engine="aurora-postgresql"
    )
    again = {"DBClusterIdentifier": "again"}
    rds.modify_db_cluster(**again, ManageMasterUserPassword=True, ApplyImmediately=True)
    rds.create_db_instance(
        DBInstanceIdentifier="again-1", DBInstanceClass="db.r7g.large", Engine="aurora-postgresql", **again
    )
    [found] = rds.describe_db_clusters(**again)["DBClusters"]
    passwords = []
    for _ in range(2):
        secret = shop.aws.secretsmanager.get_secret_value(SecretId=found["MasterUserSecret"]["SecretArn"])
        passwords.append(json.loads(secret["SecretString"])["password"])
        with shop.connect(found["Endpoint"], password=passwords[-1]) as connection:
            assert value(connection, "SELECT count(*) FROM ledger") == rows
        rds.modify_db_cluster(**again, RotateMasterUserPassword=True, ApplyImmediately=True)
    assert passwords[0] != passwords[1]
    rds.delete_db_instance(DBInstanceIdentifier="again-1")
    rds.delete_db_cluster(**again, SkipFinalSnapshot=True)


def test_a_cluster_without_readers_answers_reads_by_its_writer_and_refuses_a_reading_endpoint(shop: Clustered) -> None:
    """The last test: the writer goes, the data stay."""
    readers = shop.reading_endpoint()
    rows = shop.ask(shop.writer, "SELECT count(*) FROM ledger")
    shop.aws.rds.delete_db_instance(DBInstanceIdentifier="shop-1")
    shop.aws.rds.delete_db_instance(
        DBInstanceIdentifier=next(n for n in ("shop-2", "shop-3") if n != shop.writers()[0])
    )
    [last] = shop.writers()
    assert name_of_server(shop, shop.reader) == name_of_server(shop, shop.writer) == last
    with pytest.raises(psycopg2.OperationalError, match="doesn't have any associated read-only"):  # no timeout's words
        shop.connect(readers)
    shop.aws.rds.delete_db_instance(DBInstanceIdentifier=last)
    shop.add("shop-9")
    assert shop.ask(shop.writer, "SELECT count(*) FROM ledger") == rows
    assert name_of_server(shop, shop.proxy) == "shop-9"
