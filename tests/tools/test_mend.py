import io
import json
from types import SimpleNamespace

import pytest

from tools import mend

ARN = "arn:aws:lambda:us-east-1:123456789012:function:any"


def resource(kind, status="tainted", key=None, **attributes):
    instance = {"status": status, "attributes": {"id": "one", "arn": ARN, **attributes}}
    if key is not None:
        instance["index_key"] = key
    return {"module": "module.one", "mode": "managed", "type": kind, "name": "main", "instances": [instance]}


@pytest.fixture
def untainted(account, monkeypatch):  # noqa: ARG001
    """Mend a state of these resources; return the addresses that Terraform was told to keep."""
    told = []

    def run(command, **_):
        told.append(command[-1])
        assert command[:3] == ["terraform", "-chdir=root", "untaint"]
        return SimpleNamespace(returncode=0, stderr="")

    def mended(*resources):
        told.clear()
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"resources": list(resources)})))
        assert mend.main("terraform", "-chdir=root") is None
        return told

    monkeypatch.setattr(mend.subprocess, "run", run)
    monkeypatch.setattr(mend, "POLL_SECONDS", 0)
    return mended


def test_what_the_account_says_is_whole_is_kept(untainted, account):
    account.instance("kept")
    account.proxy("kept")
    account.function("kept", Role=account.role("kept-function"))
    assert untainted(
        resource("aws_db_instance", identifier="kept"),
        resource("aws_db_proxy", name="kept"),
        resource("aws_lambda_function", function_name="kept"),
    ) == [f"module.one.{kind}.main" for kind in ("aws_db_instance", "aws_db_proxy", "aws_lambda_function")]


def test_a_cluster_and_its_instances_are_kept_too(untainted, account):
    account.cluster("whole", 1)
    kinds = ("aws_rds_cluster", "aws_rds_cluster_instance", "aws_rds_cluster_parameter_group")
    names = {"cluster_identifier": "whole"}, {"identifier": "whole-1"}, {"name": "any"}
    assert untainted(*(resource(kind, **name) for kind, name in zip(kinds, names, strict=True))) == [
        f"module.one.{kind}.main" for kind in kinds
    ]
    assert untainted(resource(kinds[0], cluster_identifier="none"), resource(kinds[1], identifier="none")) == []


def test_what_is_gone_is_left_to_terraform(untainted):
    assert (
        untainted(
            resource("aws_db_instance", identifier="gone"),
            resource("aws_db_proxy", name="gone"),
            resource("aws_lambda_function", function_name="gone"),
        )
        == []
    )


@pytest.mark.parametrize("status", ["failed", "deleting", "incompatible-network"])
def test_what_failed_is_replaced(untainted, monkeypatch, status):
    monkeypatch.setitem(mend.ASK, "aws_db_instance", lambda *_: status)
    assert untainted(resource("aws_db_instance")) == []


def test_what_is_still_under_way_is_awaited(untainted, monkeypatch, capsys):
    states = ["creating", "backing-up", "available"]
    monkeypatch.setitem(mend.ASK, "aws_db_instance", lambda *_: states.pop(0))
    assert untainted(resource("aws_db_instance")) == ["module.one.aws_db_instance.main"]
    assert "one is creating: waiting." in capsys.readouterr().out


def test_what_one_call_makes_is_kept_with_its_key(untainted):
    assert untainted(resource("aws_subnet", key="use1-az1")) == ['module.one.aws_subnet.main["use1-az1"]']


def test_what_runs_something_is_run_again(untainted):
    assert untainted(resource("terraform_data"), resource("aws_lambda_invocation")) == []


def test_what_is_not_tainted_is_not_touched(untainted):
    assert untainted(resource("aws_subnet", status=None)) == []


def test_no_state_yet_is_nothing_to_mend(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert mend.main("terraform") is None
