"""What the checks make of answers that the local stack does not give: another state, another zone, no proxy."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tools.database import Database
from tools.declaration import OVERRIDE
from tools.doctor import access, database, deployed, inside, network, watched
from tools.doctor.finding import Finding
from tools.doctor.site import FunctionFailed, Gone, NotJudged, Site

REGION = "us-east-1"
FUNCTION = {
    "FunctionName": "shop",
    "Version": "3",
    "Role": "role",
    "Architectures": ["x86_64"],
    "VpcConfig": {"SubnetIds": ["a", "b"], "SecurityGroupIds": ["sg-function"], "VpcId": "vpc"},
    "Environment": {"Variables": {"PGHOST": "host", "PGUSER": "app_iam", "DB_AUTH": "iam", "DB_DIAGNOSE": "1"}},
}
BOOTSTRAP = FUNCTION | {
    "FunctionName": "shop-bootstrap",
    "VpcConfig": {"SubnetIds": ["a", "b"], "SecurityGroupIds": ["sg-bootstrap"]},
    "Environment": {"Variables": {"MASTER_SECRET_ARN": "master", "APPLICATION_SECRET_ARN": "arn:aws:s:r:1:secret:app"}},
}
INSTANCE = {
    "DBInstanceIdentifier": "shop",
    "DBInstanceArn": f"arn:aws:rds:{REGION}:123456789012:db:shop",
    "DbiResourceId": "db-0A",
    "DBInstanceStatus": "available",
    "Endpoint": {"Address": "host", "Port": 5432},
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-database"}],
    "DBSubnetGroup": {"Subnets": [{"SubnetIdentifier": "a"}, {"SubnetIdentifier": "b"}]},
    "IAMDatabaseAuthenticationEnabled": True,
}
PROXY = {
    "DBProxyName": "shop",
    "DBProxyArn": f"arn:aws:rds:{REGION}:123456789012:db-proxy:prx-0b",
    "Status": "available",
    "Endpoint": "host",
    "Auth": [],
    "RoleArn": "proxy-role",
    "VpcSubnetIds": ["a", "b"],
    "VpcSecurityGroupIds": ["sg-proxy"],
}
SETTINGS = {"host": "host", "port": 5432, "user": "app_iam", "auth": "iam"}
WAY = {"settings": SETTINGS, "address": "10.0.0.9", "server": True}
OUTPUTS = {
    "function_arn": f"arn:aws:lambda:{REGION}:123456789012:function:shop:live",
    "bootstrap_arn": f"arn:aws:lambda:{REGION}:123456789012:function:shop-bootstrap",
    "database_identifier": "shop",
}


class Described(Site):
    """A site with these facts, and calls that answer as told: service → call → answer."""

    def __init__(self, calls: dict[str, dict[str, Any]] | None = None, **facts: Any) -> None:
        super().__init__(Path("terraform/prod"), ["false"])
        given: dict[str, Any] = {
            "function": FUNCTION,
            "bootstrap": BOOTSTRAP,
            "instance": INSTANCE,
            "proxy": None,
            "outputs": OUTPUTS,
        }
        given |= {"state": {}, "reserved_concurrency": None, **facts}
        instance = given.pop("instance")
        given.setdefault("database", Database.of_instance(instance) if isinstance(instance, dict) else instance)
        for name, fact in given.items():
            self.known[name] = (None, fact) if isinstance(fact, Exception) else (fact, None)
        self._calls = calls or {}

    def client(self, service: str) -> Any:
        calls = self._calls[service]
        return SimpleNamespace(**{name: lambda answer=answer, **_: answer for name, answer in calls.items()})


def told(finding: Finding, verdict: str, text: str) -> bool:
    assert (finding.verdict, text in finding.text) == (verdict, True), finding
    assert bool(finding.fix) is (verdict == "wrong"), finding
    return True


# --- functions ---


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"State": "Pending", "StateReason": "Being made."}, "shop is Pending: Being made."),
        ({"State": "Failed", "StateReason": "No addresses."}, "shop is Failed: No addresses."),
        ({"State": "Inactive"}, "shop is Inactive"),
        ({"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "No such role."}, "update of shop failed: No such"),
    ],
)
def test_a_function_that_is_not_ready_is_wrong_with_lambda_s_reason(changed: dict[str, str], said: str) -> None:
    assert told(deployed.function(Described(function=FUNCTION | changed)), "wrong", said)


def test_a_function_that_timed_out_may_follow_from_its_way() -> None:
    failed = FunctionFailed("shop", "Sandbox.Timedout", "Task timed out after 15.00 seconds")
    finding = deployed.function(Described(view=failed, database_view={}))
    assert told(finding, "wrong", "Task timed out")
    assert "rules" in finding.follows
    broken = FunctionFailed("shop", "Runtime.ImportModuleError", "No module named 'x'")
    assert deployed.function(Described(view=broken, database_view={})).follows == ()


def test_a_function_without_the_mark_is_never_sent_the_event() -> None:
    """Its handler would take the event for work."""
    variables = {"Variables": {"PGHOST": "host"}}
    site = Described({}, function=FUNCTION | {"Environment": variables})
    with pytest.raises(NotJudged, match="DB_DIAGNOSE"):
        _ = site.view


def test_a_function_of_the_environment_s_own_without_diagnosis_is_never_sent_it(tmp_path: Path) -> None:
    own = tmp_path / "shop"
    own.mkdir()
    declared = {"//": {"FUNCTION": str(own), "HANDLER": "app.main"}}
    (tmp_path / OVERRIDE).write_text(json.dumps(declared))
    site = Described({}, function=FUNCTION)
    site.root = tmp_path
    with pytest.raises(NotJudged, match="has no diagnosis"):
        _ = site.view


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"Payload": {"statusCode": 200}}, "does not know the diagnostic action"),
        ({"Payload": {"errorType": "X", "errorMessage": "y"}, "FunctionError": "Unhandled"}, "shop failed: X: y"),
    ],
)
def test_an_answer_that_is_no_diagnosis_judges_nothing(answer: dict[str, Any], said: str) -> None:
    body = io.StringIO(json.dumps(answer["Payload"]))
    with pytest.raises(NotJudged, match=said):
        _ = Described({"lambda": {"invoke": answer | {"Payload": body}}}).view


def test_what_is_gone_is_the_state_s_to_tell() -> None:
    site = Described(instance=Gone("the instance shop is in the state, but not in AWS."))
    assert told(deployed.state(site), "wrong", "the instance shop is in the state, but not in AWS")


# --- network ---


def vpc(*, free: int = 100, zones: tuple[str, ...] = ("use1-az1", "use1-az2"), rules: Any = None) -> dict[str, Any]:
    subnets = [
        {"SubnetId": name, "CidrBlock": f"10.0.{number}.0/24", "AvailabilityZoneId": zone, "AvailabilityZone": zone,
         "AvailableIpAddressCount": free}
        for number, (name, zone) in enumerate(zip("ab", zones, strict=False))
    ]  # fmt: skip
    groups = [
        {"GroupId": f"sg-{tier}", "IpPermissions": [], "IpPermissionsEgress": [], **(rules or {}).get(tier, {})}
        for tier in ("function", "bootstrap", "proxy", "database")
    ]
    answers = {
        "describe_subnets": {"Subnets": subnets},
        "describe_security_groups": {"SecurityGroups": groups},
        "describe_vpc_endpoints": {"VpcEndpoints": []},
    }
    return {"ec2": answers}


def rule(*groups: str, port: int = 5432, **more: Any) -> dict[str, Any]:
    pairs = [{"GroupId": group} for group in groups]
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "UserIdGroupPairs": pairs, **more}


def test_subnets_of_a_proxy_need_two_zones_that_it_takes_and_room() -> None:
    assert told(network.subnets(Described(vpc(), proxy=PROXY)), "ok", "2 subnets in use1-az1, use1-az2")
    refused = Described(vpc(zones=("use1-az1", "use1-az3")), proxy=PROXY)
    assert told(network.subnets(refused), "wrong", "no subnet of use1-az3")
    one = Described(vpc(zones=("use1-az1", "use1-az1")), proxy=PROXY)
    assert told(network.subnets(one), "wrong", "in one zone")
    assert told(network.subnets(Described(vpc(free=9), proxy=PROXY)), "wrong", "a has 9 of 10")
    assert told(network.subnets(Described(vpc(free=9))), "ok", "at least 9")
    assert told(network.subnets(Described(vpc(zones=("use1-az1",)))), "wrong", "b of function and bootstrap")


EGRESS = {tier: {"IpPermissionsEgress": [rule("sg-database")]} for tier in ("function", "bootstrap")}


@pytest.mark.parametrize(
    ("ingress", "verdict"),
    [
        ([rule("sg-function", "sg-bootstrap")], "ok"),
        ([rule("sg-function")], "wrong"),
        ([rule("sg-function", "sg-bootstrap", port=5433)], "wrong"),
        ([rule("sg-function", "sg-bootstrap") | {"IpProtocol": "udp"}], "wrong"),
        ([{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-function"}, {"GroupId": "sg-bootstrap"}]}], "ok"),
        ([rule(IpRanges=[{"CidrIp": "10.0.0.0/16"}])], "ok"),
        ([rule(IpRanges=[{"CidrIp": "10.0.0.0/24"}, {"CidrIp": "10.0.1.0/24"}])], "ok"),
        ([rule(IpRanges=[{"CidrIp": "10.0.0.0/24"}])], "wrong"),
        ([rule(PrefixListIds=[{"PrefixListId": "pl-1"}])], "ok"),
    ],
)
def test_a_rule_counts_when_it_lets_the_other_side_through(ingress: list[Any], verdict: str) -> None:
    finding = network.rules(Described(vpc(rules={**EGRESS, "database": {"IpPermissions": ingress}})))
    assert told(finding, verdict, "function → database:5432" if verdict == "ok" else "no ingress rule of the database")


# --- inside ---


def failed(step: str, reason: str, error: str = "CannotConnect", **more: Any) -> dict[str, Any]:
    return {**WAY, "certificate": {}, **more, "failed": step, "error": error, "reason": reason}


@pytest.mark.parametrize(
    ("check", "view", "verdict", "said"),
    [
        (inside.dns, failed("address", "Name or service not known"), "wrong", "has no address: Name or service"),
        (inside.tls, failed("server", "timed out"), "wrong", "host does not answer: timed out"),
        (inside.tls, failed("certificate", "read timed out"), "wrong", "host begins no TLS"),
        (inside.token, failed("login", "x: PAM authentication failed", "LoginRefused"), "wrong", "token of app_iam is"),
        (inside.token, failed("login", "x: too many clients already", "PoolExhausted"), "unknown", "no connection was"),
        (inside.token, failed("query", "Timed-out waiting to acquire"), "ok", "accepted of app_iam"),
        (inside.token, failed("query", "Request returned an error: no"), "wrong", "but the database does not answer"),
        (inside.token, failed("login", "the database system is starting up"), "wrong", "The login of app_iam failed"),
        (watched.sessions, failed("login", "x: too many clients already"), "wrong", "No connection is free"),
    ],
)
def test_where_the_function_s_way_ends_decides_the_layer(
    check: Any, view: dict[str, Any], verdict: str, said: str
) -> None:
    assert told(check(Described(view=view)), verdict, said)


@pytest.mark.parametrize("check", [inside.tls, inside.token])
def test_what_lies_behind_the_end_of_the_way_is_not_judged(check: Any) -> None:
    with pytest.raises(NotJudged, match="the way ends before, at the address"):
        check(Described(view=failed("address", "no")))


@pytest.mark.parametrize(("days", "verdict"), [(29, "wrong"), (31, "ok")])
def test_the_instance_s_own_certificate_counts_too(days: int, verdict: str) -> None:
    details = {"ValidTill": datetime.now(UTC) + timedelta(days=days, hours=1)}
    site = Described(view=NotJudged("not asked"), instance=INSTANCE | {"CertificateDetails": details})
    assert told(inside.certificate(site), verdict, f"{days} days")
    end = time.strftime("%b %d %H:%M:%S %Y GMT", time.gmtime(time.time() + days * 86_400 + 3600))
    seen = Described(view={**WAY, "certificate": {"notAfter": end}})
    assert told(inside.certificate(seen), verdict, f"host {'runs out in' if days < 30 else 'lasts'} {days} days")


# --- database ---


@pytest.mark.parametrize("status", ["stopped", "storage-full", "rebooting", "failed"])
def test_an_instance_that_does_not_serve_is_wrong(status: str) -> None:
    site = Described(instance=INSTANCE | {"DBInstanceStatus": status})
    assert told(database.target(site), "wrong", f"The instance shop is {status}.")


@pytest.mark.parametrize("status", sorted(database.SERVING))
def test_an_instance_that_serves_is_fine_whatever_else_it_does(status: str) -> None:
    assert told(database.target(Described(instance=INSTANCE | {"DBInstanceStatus": status})), "ok", status)


def health(state: str, reason: str = "", name: str = "shop") -> dict[str, dict[str, Any]]:
    target = {"RdsResourceId": name, "TargetHealth": {"State": state, "Reason": reason, "Description": "as AWS says"}}
    return {"rds": {"describe_db_proxy_targets": {"Targets": [target]}}}


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (health("UNAVAILABLE", "UNREACHABLE"), "The proxy cannot reach the database (UNAVAILABLE UNREACHABLE: as AWS"),
        (health("UNAVAILABLE", "AUTH_FAILURE"), "refuses the password in the proxy's secret"),
        (health("UNAVAILABLE", "CONNECTION_FAILED"), "accepts no connection"),
        (health("REGISTERING"), "AWS is connecting the proxy with the database (REGISTERING: as AWS says)."),
        (health("AVAILABLE", name="old"), "has not shop as its target, but old"),
    ],
)
def test_a_target_s_reason_is_said_in_plain_words(calls: dict[str, Any], said: str) -> None:
    assert told(database.target(Described(calls, proxy=PROXY)), "wrong", said)


def test_a_proxy_that_is_being_deleted_is_wrong() -> None:
    assert told(database.target(Described(proxy=PROXY | {"Status": "deleting"})), "wrong", "shop is deleting")


# --- access ---


def test_the_grant_is_looked_for_on_what_the_function_connects_to() -> None:
    direct, pooled = (
        [need.resource for need in access._needs(_keyless(proxy)) if need.action == "rds-db:connect"]
        for proxy in (None, PROXY)
    )
    prefix = f"arn:aws:rds-db:{REGION}:123456789012:dbuser"
    assert (direct, pooled) == ([f"{prefix}:db-0A/app_iam"], [f"{prefix}:prx-0b/app_iam"])


def test_a_role_that_is_gone_may_nothing() -> None:
    class NoRole(Described):
        def client(self, service: str) -> Any:
            def simulate(**_: Any) -> Any:
                raise ClientError({"Error": {"Code": "NoSuchEntity", "Message": "no"}}, "SimulatePrincipalPolicy")

            return SimpleNamespace(simulate_principal_policy=simulate) if service == "iam" else super().client(service)

    site = NoRole(_keyless(None)._calls)
    assert told(access.policy(site), "wrong", "the function may not rds-db:connect")


def _keyless(proxy: dict[str, Any] | None) -> Described:
    calls = {"describe_secret": {}, "exceptions": None}
    return Described({"secretsmanager": calls}, proxy=proxy)


@pytest.mark.parametrize(
    ("view", "said", "follows"),
    [
        ({"failed": "secret", "reason": "AccessDenied"}, "cannot read the master's secret: AccessDenied", "policy"),
        ({"failed": "connection", "reason": "timeout expired"}, "does not reach the database: timeout", "rules"),
        (
            {"failed": "connection", "reason": "password authentication failed"},
            "master's secret does not log",
            "policy",
        ),
    ],
)
def test_where_the_bootstrap_function_stops_is_told(view: dict[str, Any], said: str, follows: str) -> None:
    site = _keyless(None)
    site.known["database_view"] = (view, None)
    finding = access.secret(site)
    assert told(finding, "wrong", said)
    assert follows in finding.follows
    for check in (access.login, access.migrations):
        with pytest.raises(NotJudged, match="does not come so far"):
            check(site)


# --- watched ---


def metrics(**series: list[float]) -> dict[str, Any]:
    stamps = [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in range(5)]
    results = [
        {"Id": name, "Timestamps": stamps[: len(series.get(name, []))], "Values": series.get(name, [])}
        for name in ("open", "allowed", "pinned", "given_up", "given_up_too")
    ]
    return {"cloudwatch": {"get_metric_data": {"MetricDataResults": results}}}


@pytest.mark.parametrize(
    ("series", "verdict", "said"),
    [
        ({}, "unknown", "no metric of shop"),
        ({"open": [10, 60], "allowed": [100, 100]}, "ok", "at most 60 %"),
        ({"open": [10, 71], "allowed": [100, 100]}, "wrong", "up to 71 % of the pool was open"),
        ({"open": [10, 10], "allowed": [100, 100], "pinned": [1, 1]}, "ok", "10 % pinned"),
        ({"open": [10, 10], "allowed": [100, 100], "pinned": [0, 2]}, "wrong", "up to 20 % of the pool's"),
        ({"open": [1], "allowed": [100], "given_up_too": [2]}, "wrong", "2 clients waited in vain"),
    ],
)
def test_the_last_hour_of_a_pool_is_judged(series: dict[str, list[float]], verdict: str, said: str) -> None:
    site = Described(metrics(**series), proxy=PROXY, view=NotJudged("not asked"))
    assert told(watched.sessions(site), verdict, said)


@pytest.mark.parametrize(("most", "verdict"), [(90.0, "ok"), (91.0, "wrong")])
def test_without_a_proxy_the_server_s_connections_are_judged(most: float, verdict: str) -> None:
    view = {"server": {"max_connections": 100}}
    site = Described(metrics(open=[3, most]), view=NotJudged("not asked"), database_view=view)
    assert told(watched.sessions(site), verdict, f"{most:.0f} % of max_connections (100)")


def test_without_a_metric_or_a_number_nothing_is_said_of_the_server() -> None:
    site = Described(metrics(open=[3]), view=NotJudged("not asked"), database_view=NotJudged("not asked"))
    assert told(watched.sessions(site), "unknown", "no metric of shop")
