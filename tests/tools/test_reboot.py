"""tools/reboot.py against the control plane, and against answers that only AWS gives."""

from typing import Any

import pytest

from local.aws.control_plane import ControlPlane
from tests.local.account import Account, Recorder, parameter_group, running
from tools.reboot import HOPELESS, Cluster, Instance, RebootError, main, reboot


@pytest.fixture(scope="module")
def account():
    with running(ControlPlane(Recorder())) as plane:
        account = Account.of(plane)
        parameter_group(account, "parameters")
        account.instance("app", DBParameterGroupName="parameters")
        yield account


@pytest.fixture
def waiting(account, monkeypatch):
    """An instance whose max_connections waits for a reboot."""
    value = 95 if Instance("app", account.rds).max_connections("parameters") == "90" else 90
    parameter = {"ParameterName": "max_connections", "ParameterValue": str(value), "ApplyMethod": "pending-reboot"}
    account.rds.modify_db_parameter_group(DBParameterGroupName="parameters", Parameters=[parameter])
    monkeypatch.setattr("tools.reboot.POLL_SECONDS", 0.02)
    return value


class Scripted(Instance):
    """An instance that goes through states, one a look."""

    def __init__(self, *states: str) -> None:
        super().__init__("app", None)
        self._states = iter(states)

    def reboot(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"DBInstanceStatus": next(self._states)}

    def standing(self) -> str:
        return "as it should be"


def test_what_waits_for_a_reboot_is_said(waiting, capsys):
    assert main(["app", "us-east-1", "--show"]) is None
    assert capsys.readouterr().out == (
        f"app: its parameter group is pending-reboot; in it max_connections is {waiting}.\n"
    )


def test_reboot_ends_when_the_instance_is_back_and_says_what_is_in_force(waiting, capsys):
    assert main(["app", "us-east-1"]) is None
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "app is rebooting; every connection is lost."
    assert said[-1] == f"app runs with all that its parameter group says: max_connections is {waiting}."


@pytest.mark.usefixtures("waiting")
def test_unknown_instance_is_an_error():
    assert "DBInstanceNotFound" in str(main(["none", "us-east-1"]))


@pytest.mark.parametrize("state", HOPELESS)
def test_instance_that_will_not_come_back_is_not_waited_for(state):
    with pytest.raises(RebootError, match=f"is {state} after 0 s"):
        reboot(Scripted("rebooting", state), say=lambda _: None, sleep=lambda _: None, clock=lambda: 0)


def test_waiting_has_an_end():
    clock = iter(range(0, 10_000, 100))
    with pytest.raises(RebootError, match="still rebooting after"):
        reboot(Scripted(*["rebooting"] * 99), say=lambda _: None, sleep=lambda _: None, clock=lambda: next(clock))


def test_reboot_is_waited_for_with_progress():
    said = []
    instance = Scripted("rebooting", "modifying", "available")
    reboot(instance, say=said.append, sleep=lambda _: None, clock=lambda: 0)
    assert [line.split(" after")[0] for line in said[1:4]] == [
        "app is rebooting",
        "app is modifying",
        "app is available",
    ]


# --- clusters ---


@pytest.fixture
def of_cluster(account, monkeypatch):
    """A cluster whose max_connections waits for its servers' restart."""
    monkeypatch.setattr("tools.reboot.POLL_SECONDS", 0.02)
    group = {"DBClusterParameterGroupName": "of-cluster"}
    parameter = {"ParameterName": "max_connections", "ParameterValue": "90", "ApplyMethod": "pending-reboot"}
    account.rds.create_db_cluster_parameter_group(
        **group, DBParameterGroupFamily="aurora-postgresql17", Description="test"
    )
    account.rds.modify_db_cluster_parameter_group(**group, Parameters=[parameter])
    account.cluster("orders", 3, **group)
    account.rds.failover_db_cluster(DBClusterIdentifier="orders", TargetDBInstanceIdentifier="orders-2")
    account.rds.modify_db_cluster_parameter_group(**group, Parameters=[parameter | {"ParameterValue": "95"}])


@pytest.mark.usefixtures("of_cluster")
def test_the_readers_of_a_cluster_are_rebooted_first_and_then_its_writer(capsys):
    assert main(["orders", "us-east-1", "--show"]) is None
    said = capsys.readouterr().out
    assert "waits for orders-2 (pending-reboot), orders-1 (pending-reboot), orders-3 (pending-reboot)" in said
    assert said.endswith("max_connections is 95. Rebooted one after the other: orders-1, orders-3, orders-2.\n")
    assert main(["orders", "us-east-1"]) is None
    *said, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said if "is rebooting;" in line] == ["orders-1", "orders-3", "orders-2"]
    assert [line.split()[0] for line in said if "is available" in line] == ["orders-1", "orders-3", "orders-2"]
    assert last == "orders runs with all that its parameter group says: max_connections is 95."


def test_a_cluster_without_a_writer_is_not_rebooted(account):
    account.cluster("nobody")
    assert main(["nobody", "us-east-1"]) == "nobody has no writer: wait for the failover, or make deploy."


def test_a_multi_az_cluster_is_rebooted_as_one(account):
    class Rds:
        """The control plane, which does not know RebootDBCluster."""

        def __getattr__(self, name: str) -> Any:
            return getattr(account.rds, name)

        def reboot_db_cluster(self, **given: str) -> None:
            rebooted.append(given)

    rebooted: list[dict[str, str]] = []
    account.cluster("three", 2)
    whole = Cluster("three", Rds())
    found = whole._found()
    whole._found = lambda: type(found)({**found.described, "Engine": "postgres"}, found.instances)  # type: ignore[method-assign]
    whole.max_connections = lambda _: "90"  # type: ignore[method-assign]
    said: list[str] = []
    reboot(whole, say=said.append, sleep=lambda _: None, clock=lambda: 0)
    assert rebooted == [{"DBClusterIdentifier": "three"}]
    assert said[:2] == ["three is rebooting; every connection is lost.", "three is available after 0 s."]
