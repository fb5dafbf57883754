"""The layers that look at the database, of a cluster: two instances in the control plane, and what may befall them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.local.account import Account
from tests.tools.doctor.test_checks import BOOTSTRAP, FUNCTION, OUTPUTS, WAY, Described, failed, told
from tools.database import Database, find
from tools.doctor import access, database, deployed, inside, network, watched
from tools.doctor.finding import Finding, causes_only
from tools.doctor.site import FunctionFailed

EXPORTS = ["iam-db-auth-error", "postgresql"]
SERVER = {"version": "17.6", "max_connections": 95, "connections": 3, "password_method": "scram",
          "reserved": {"superuser_reserved_connections": 3, "rds.rds_superuser_reserved_connections": 2}}  # fmt: skip
USERS = {"app_iam": {"auth": "iam", "rds_iam": True}, "app": {"auth": "password", "rds_iam": False, "login": None}}
VIEW = {"host": "host", "server": SERVER, "users": USERS}
CHECKS = {
    "state": deployed.state,
    "dns": inside.dns,
    "target": database.target,
    "readers": database.readers,
    "secret": access.secret,
    "login": access.login,
    "pending": database.pending,
    "alarms": watched.alarms,
}

Break = Callable[["Shop"], AbstractContextManager[None]]
FAULTS: dict[str, tuple[str, Break]] = {}


class Shop(Described):
    """An environment whose database is asked of the control plane, and whose functions answer as told."""

    def __init__(self, aws: Account, whole: Database, **facts: Any) -> None:
        self.aws = aws
        self.whole = whole  # as RDS describes it before anything befalls it
        super().__init__(**facts)
        self.known.pop("database")

    def client(self, service: str) -> Any:
        return getattr(self.aws, service)

    def judged(self) -> dict[str, Finding]:
        return causes_only({name: check(self) for name, check in CHECKS.items()})


@contextmanager
def of_rds(shop: Shop, change: Callable[[dict[str, Any], list[dict[str, Any]]], None]) -> Iterator[None]:
    """Let RDS describe the cluster otherwise, where the control plane cannot: the cluster, then its instances."""
    cluster, instances = deepcopy(shop.whole.described), deepcopy(shop.whole.instances)
    change(cluster, listed := list(instances))
    shop.known["database"] = (Database(cluster, tuple(listed)), None)
    yield


def fault(layer: str) -> Callable[[Callable[[Shop], Any]], Break]:
    """Put a fault into the table: what breaks something, and gives how it is mended or a change of a description."""

    def enter(work: Callable[[Shop], Any]) -> Break:
        made = contextmanager(work)
        FAULTS[work.__name__] = (layer, made)
        return made

    return enter


@pytest.fixture(scope="module")
def aws(account: Account) -> Account:
    rds, given = account.rds, {"DBClusterParameterGroupName": "shop"}
    rds.create_db_cluster_parameter_group(**given, DBParameterGroupFamily="aurora-postgresql17", Description="shop")
    rds.modify_db_cluster_parameter_group(**given, Parameters=[_max_connections(95)])
    rds.create_db_cluster(
        DBClusterIdentifier="shop", Engine="aurora-postgresql", EngineVersion="17", MasterUsername="owner",
        DatabaseName="app", ManageMasterUserPassword=True, EnableIAMDatabaseAuthentication=True,
        EnableCloudwatchLogsExports=EXPORTS, **given,
    )  # fmt: skip
    for number, zone in ((1, "us-east-1a"), (2, "us-east-1b")):
        rds.create_db_instance(
            DBInstanceIdentifier=f"shop-{number}", DBInstanceClass="db.r7g.large", Engine="aurora-postgresql",
            DBClusterIdentifier="shop", AvailabilityZone=zone,
        )  # fmt: skip
    account.proxy("shop")
    rds.register_db_proxy_targets(DBProxyName="shop", DBClusterIdentifiers=["shop"])
    return account


@pytest.fixture(scope="module")
def facts(aws: Account) -> tuple[Database, dict[str, Any], dict[str, str]]:
    """What stays the same in all tests: the whole cluster, the proxy, the secrets that are read."""
    whole = find(aws.rds, "shop", cluster=True)
    [proxy] = aws.rds.describe_db_proxies(DBProxyName="shop")["DBProxies"]
    secret = aws.secretsmanager.create_secret(Name="application")["ARN"]
    master = whole.described["MasterUserSecret"]["SecretArn"]
    return whole, proxy, {"MASTER_SECRET_ARN": master, "APPLICATION_SECRET_ARN": secret}


@pytest.fixture
def shop(aws: Account, facts: tuple[Database, dict[str, Any], dict[str, str]]) -> Shop:
    whole, proxy, read = facts
    return Shop(
        aws,
        whole,
        function=_with(FUNCTION, PGHOST=proxy["Endpoint"]),
        bootstrap=_with(BOOTSTRAP, **read),
        proxy=proxy,
        outputs=OUTPUTS,
        state={"resources": [*_state()]},
        view=WAY,
        database_view=VIEW,
    )


def _with(function: Mapping[str, Any], **variables: str) -> dict[str, Any]:
    return {**function, "Environment": {"Variables": {**function["Environment"]["Variables"], **variables}}}


def _state() -> Iterator[dict[str, Any]]:
    cluster = {"cluster_identifier": "shop", "db_cluster_parameter_group_name": "shop"}
    things: list[tuple[str, dict[str, Any]]] = [
        ("aws_rds_cluster", {**cluster, "enabled_cloudwatch_logs_exports": EXPORTS}),
        *(("aws_rds_cluster_instance", {"cluster_identifier": "shop", "identifier": f"shop-{n}"}) for n in (1, 2)),
        ("terraform_data", {"input": {"value": {"max_connections": 95}, "type": []}}),
        ("terraform_data", {"input": {"value": "shop", "type": "string"}}),
        ("terraform_data", {"input": None}),
    ]
    for kind, attributes in things:
        yield {"mode": "managed", "type": kind, "name": "main", "instances": [{"attributes": attributes}]}


def _max_connections(number: int) -> dict[str, str]:
    return {"ParameterName": "max_connections", "ParameterValue": str(number), "ApplyMethod": "pending-reboot"}


# --- the faults ---


@fault("state")
def a_cluster_that_is_gone(shop: Shop) -> Iterator[None]:
    shop.known["outputs"] = ({**OUTPUTS, "database_identifier": "other"}, None)
    for resource in shop.state["resources"][:1]:
        resource["instances"][0]["attributes"]["cluster_identifier"] = "other"
    yield


@fault("dns")
def a_reader_s_name_that_is_none(shop: Shop) -> Iterator[None]:
    shop.known["function"] = (_with(shop.function, PGHOST_READER="old"), None)
    yield


@fault("target")
def a_cluster_that_is_stopped(shop: Shop) -> Iterator[None]:
    yield from _described(shop, lambda cluster, _: cluster.update(Status="stopped"))


@fault("target")
def a_writer_that_fails(shop: Shop) -> Iterator[None]:
    yield from _described(shop, lambda _, instances: instances[0].update(DBInstanceStatus="storage-full"))


@fault("target")
def a_cluster_between_two_writers(shop: Shop) -> Iterator[None]:
    yield from _described(shop, lambda cluster, _: cluster["DBClusterMembers"][0].update(IsClusterWriter=False))


@fault("target")
def a_cluster_without_an_instance(shop: Shop) -> Iterator[None]:
    yield from _described(shop, lambda cluster, _: cluster.update(DBClusterMembers=[]))


@fault("target")
def a_proxy_that_tracks_nothing(shop: Shop) -> Iterator[None]:
    rds = shop.aws.rds
    rds.deregister_db_proxy_targets(DBProxyName="shop", DBClusterIdentifiers=["shop"])
    yield
    rds.register_db_proxy_targets(DBProxyName="shop", DBClusterIdentifiers=["shop"])


@fault("readers")
def a_reader_that_somebody_deleted(shop: Shop) -> Iterator[None]:
    attributes = {"cluster_identifier": "shop", "identifier": "shop-3"}
    extra = {"mode": "managed", "type": "aws_rds_cluster_instance", "instances": [{"attributes": attributes}]}
    shop.known["state"] = ({"resources": [*shop.state["resources"], extra]}, None)
    yield


@fault("readers")
def a_reader_that_is_deleted_now(shop: Shop) -> Iterator[None]:
    yield from _described(shop, lambda _, instances: instances[1].update(DBInstanceStatus="deleting"))


@fault("readers")
def a_reader_in_the_writer_s_zone(shop: Shop) -> Iterator[None]:
    yield from _described(shop, lambda _, instances: instances[1].update(AvailabilityZone="us-east-1a"))


@fault("secret")
def another_secret_of_the_master(shop: Shop) -> Iterator[None]:
    shop.known["bootstrap"] = (_with(shop.bootstrap, MASTER_SECRET_ARN=shop.aws.secretsmanager.create_secret(
        Name="another")["ARN"]), None)  # fmt: skip
    yield


@fault("secret")
def a_secret_that_cannot_be_rotated(shop: Shop) -> Iterator[None]:
    yield from _described(shop, lambda cluster, _: cluster["MasterUserSecret"].update(SecretStatus="impaired"))


@fault("login")
def a_cluster_that_takes_no_tokens(shop: Shop) -> Iterator[None]:
    given = {"DBClusterIdentifier": "shop", "ApplyImmediately": True}
    shop.aws.rds.modify_db_cluster(**given, EnableIAMDatabaseAuthentication=False)
    yield
    shop.aws.rds.modify_db_cluster(**given, EnableIAMDatabaseAuthentication=True)


@fault("login")
def a_server_that_takes_md5(shop: Shop) -> Iterator[None]:
    shop.known["database_view"] = ({**VIEW, "server": {**SERVER, "password_method": "md5+scram"}}, None)
    yield


@fault("pending")
def a_parameter_that_waits_for_a_reboot(shop: Shop) -> Iterator[None]:
    group = {"DBClusterParameterGroupName": "shop"}
    shop.aws.rds.modify_db_cluster_parameter_group(**group, Parameters=[_max_connections(200)])
    yield
    shop.aws.rds.modify_db_cluster_parameter_group(**group, Parameters=[_max_connections(95)])


@fault("pending")
def a_class_that_waits_for_the_window(shop: Shop) -> Iterator[None]:
    waiting = {"DBInstanceClass": "db.r7g.xlarge"}
    yield from _described(shop, lambda _, instances: instances[1].update(PendingModifiedValues=waiting))


@fault("pending")
def another_parameter_group(shop: Shop) -> Iterator[None]:
    yield from _described(
        shop, lambda cluster, _: cluster.update(DBClusterParameterGroup="default.aurora-postgresql17")
    )


@fault("pending")
def a_log_that_is_not_exported(shop: Shop) -> Iterator[None]:
    yield from _described(shop, lambda cluster, _: cluster.update(EnabledCloudwatchLogsExports=["postgresql"]))


@fault("pending")
def fewer_connections_than_plans_reckon_with(shop: Shop) -> Iterator[None]:
    shop.known["database_view"] = ({**VIEW, "server": {**SERVER, "max_connections": 90}}, None)
    yield


@fault("pending")
def more_reserved_connections_than_plans_reckon_with(shop: Shop) -> Iterator[None]:
    reserved = {**SERVER["reserved"], "reserved_connections": 2}  # type: ignore[dict-item]
    shop.known["database_view"] = ({**VIEW, "server": {**SERVER, "reserved": reserved}}, None)
    yield


@fault("alarms")
def an_alarm_on_a_metric_that_there_is_not(shop: Shop) -> Iterator[None]:
    shop.aws.cloudwatch.put_metric_alarm(**_alarm("WRITER"))
    shop.aws.cloudwatch.put_metric_data(Namespace="AWS/RDS", MetricData=[_point("CPUUtilization", 5, Role="READER")])
    yield from _described(
        shop, lambda cluster, _: cluster.update(ClusterCreateTime=datetime.now(UTC) - timedelta(days=1))
    )
    shop.aws.cloudwatch.delete_alarms(AlarmNames=["cpu"])


def _described(shop: Shop, change: Callable[[dict[str, Any], list[dict[str, Any]]], None]) -> Iterator[None]:
    with of_rds(shop, change):
        yield


def _alarm(role: str) -> dict[str, Any]:
    return {
        "AlarmName": "cpu", "Namespace": "AWS/RDS", "MetricName": "CPUUtilization", "Statistic": "Maximum",
        "Dimensions": [{"Name": "DBClusterIdentifier", "Value": "shop"}, {"Name": "Role", "Value": role}],
        "Period": 60, "EvaluationPeriods": 1, "Threshold": 90, "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip


def _point(name: str, value: float, **dimensions: str) -> dict[str, Any]:
    given = dimensions if "DBInstanceIdentifier" in dimensions else {"DBClusterIdentifier": "shop", **dimensions}
    return {
        "MetricName": name, "Value": value, "Timestamp": datetime.now(UTC) - timedelta(minutes=2),
        "Dimensions": [{"Name": key, "Value": of} for key, of in given.items()],
    }  # fmt: skip


# --- the tests ---


@pytest.mark.parametrize("name", FAULTS)
def test_the_broken_layer_is_named_first(shop: Shop, name: str) -> None:
    layer, broken = FAULTS[name]
    with broken(shop):
        found = shop.judged() if layer != "state" else {"state": deployed.state(shop)}
    assert [name for name, finding in found.items() if finding.verdict == "wrong"][:1] == [layer], found
    assert found[layer].fix


def test_of_a_whole_cluster_nothing_is_wrong(shop: Shop) -> None:
    found = shop.judged()
    assert [finding.verdict for name, finding in found.items() if name != "alarms"] == ["ok"] * 7, found
    assert found["alarms"].verdict == "unknown"  # there are none
    assert found["readers"].text == "shop-2; in us-east-1a, us-east-1b, the writer's first"


def test_a_reader_that_aws_adds_is_not_wrong(shop: Shop) -> None:
    name = "application-autoscaling-1"

    def grows(cluster: dict[str, Any], instances: list[dict[str, Any]]) -> None:
        cluster["DBClusterMembers"].append({"DBInstanceIdentifier": name, "IsClusterWriter": False})
        instances.append({**instances[1], "DBInstanceIdentifier": name, "DBInstanceStatus": "creating"})

    with of_rds(shop, grows):
        assert told(database.readers(shop), "ok", f"shop-2, {name}")


def test_an_alarm_on_a_metric_that_there_is_is_fine(shop: Shop) -> None:
    shop.aws.cloudwatch.put_metric_alarm(**_alarm("WRITER"))
    shop.aws.cloudwatch.put_metric_data(Namespace="AWS/RDS", MetricData=[_point("CPUUtilization", 5, Role="WRITER")])
    old = datetime.now(UTC) - timedelta(days=1)
    with of_rds(shop, lambda cluster, _: cluster.update(ClusterCreateTime=old)):
        assert told(watched.alarms(shop), "ok", "none of 1 is in ALARM")
    shop.aws.cloudwatch.delete_alarms(AlarmNames=["cpu"])


def test_without_a_proxy_the_cluster_s_own_names_count(shop: Shop) -> None:
    cluster, shop.known["proxy"] = shop.database, (None, None)
    of_writer = _with(FUNCTION, PGHOST=cluster.host, PGHOST_READER=cluster.reader_host or "")
    shop.known["function"] = (of_writer, None)
    assert told(inside.dns(shop), "ok", cluster.host)
    assert access._login_prefix(shop).endswith(f":dbuser:{cluster.described['DbClusterResourceId']}")
    shop.known["function"] = (_with(FUNCTION, PGHOST=cluster.reader_host or ""), None)
    assert told(inside.dns(shop), "wrong", f"but the endpoint is {cluster.host}")


def test_a_cluster_is_in_the_subnets_of_its_instances(shop: Shop) -> None:
    def stands(cluster: dict[str, Any], instances: list[dict[str, Any]]) -> None:
        cluster.update(DBSubnetGroup="shop", Port=5433)
        for one in instances:
            one["DBSubnetGroup"] = {"Subnets": [{"SubnetIdentifier": "a"}, {"SubnetIdentifier": "b"}]}

    shop.known["proxy"] = (None, None)
    with of_rds(shop, stands):
        tier = network._tiers(shop)["database"]
        assert next(str(step) for step in network._steps(shop)) == "function → database:5433"
    assert tier.groups == tuple(group["VpcSecurityGroupId"] for group in shop.database.described["VpcSecurityGroups"])
    assert tier.subnets == ("a", "b")


def test_the_certificate_of_each_instance_counts_and_is_renewed_by_its_name(shop: Shop) -> None:
    def runs_out(_: dict[str, Any], instances: list[dict[str, Any]]) -> None:
        for one, days in zip(instances, (200, 20), strict=True):
            one["CertificateDetails"] = {"ValidTill": datetime.now(UTC) + timedelta(days=days, hours=1)}

    with of_rds(shop, runs_out):
        finding = inside.certificate(shop)
    assert told(finding, "wrong", "of shop-2 runs out in 20 days")
    assert "modify-db-instance --db-instance-identifier shop-2" in finding.fix


# --- paused ---


@pytest.fixture
def asleep(shop: Shop) -> Iterator[Shop]:
    """The same, direct, as a Serverless cluster that pauses and does."""

    def pauses(cluster: dict[str, Any], _: list[dict[str, Any]]) -> None:
        cluster["ServerlessV2ScalingConfiguration"] = {"MinCapacity": 0.0, "MaxCapacity": 4.0}

    point = _point("ServerlessDatabaseCapacity", 0, DBInstanceIdentifier="shop-1")
    shop.aws.cloudwatch.put_metric_data(Namespace="AWS/RDS", MetricData=[point])
    shop.known["proxy"] = (None, None)
    with of_rds(shop, pauses):
        yield shop


def test_a_paused_cluster_is_not_wrong(asleep: Shop) -> None:
    assert told(database.target(asleep), "ok", "shop is available, without a proxy, paused: 0 ACU")
    assert told(watched.sessions(asleep), "ok", "nobody was connected in the last hour: paused")


def test_what_ran_into_a_timeout_while_it_woke_is_unknown(asleep: Shop) -> None:
    asleep.known["view"] = (failed("server", "timed out"), None)
    asleep.known["database_view"] = ({"failed": "connection", "reason": "timeout expired"}, None)
    for check in (inside.tls, access.secret):
        assert told(check(asleep), "unknown", "shop was paused (0 ACU), and this look wakes it")
    asleep.known["view"] = (failed("login", "connection to server failed: timeout expired"), None)
    assert told(inside.token(asleep), "unknown", "run it again")
    asleep.known["view"] = (None, FunctionFailed("shop", "Sandbox.Timedout", "Task timed out after 15.00 seconds"))
    assert told(deployed.function(asleep), "unknown", "run it again")


def test_a_refused_login_is_wrong_also_of_a_cluster_that_slept(asleep: Shop) -> None:
    asleep.known["view"] = (failed("login", "x: PAM authentication failed", "LoginRefused"), None)
    assert told(inside.token(asleep), "wrong", "token of app_iam is refused")


def test_the_same_timeout_of_a_cluster_that_is_awake_is_wrong(asleep: Shop) -> None:
    asleep.known["capacity"] = (0.5, None)
    asleep.known["view"] = (failed("server", "timed out"), None)
    assert told(inside.tls(asleep), "wrong", "host does not answer")


def test_where_neither_state_nor_caller_knows_a_cluster_goes_before_an_instance_of_its_name(aws: Account) -> None:
    aws.instance("shop")
    assert find(aws.rds, "shop").word == "cluster"
    assert find(aws.rds, "shop", cluster=False).word == "instance"
    aws.rds.delete_db_instance(DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
