"""Whose a state is, and who calls: asked of a root's own settings and of STS."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from local.aws.control_plane import ControlPlane
from tests import plans
from tests.local.account import Recorder, allow, running
from tools import account

ROOT = Path(__file__).parents[2]
HERE, ELSEWHERE = "123456789012", "111122223333"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running(ControlPlane(Recorder())) as plane:
        yield plane


@pytest.fixture
def caller(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of one who calls with the administrator's key."""
    key = plane.administrator
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    mine = {
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": plane.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    return mine


def elsewhere() -> dict[str, str]:
    """The keys of an administrator of another account."""
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    iam = iam_backends[ELSEWHERE]["aws"]
    if "admin" not in [role.name for role in iam.get_roles()]:
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        role = iam.create_role("admin", document, "/", None, "", [], 3600)
        role.put_policy("all", json.dumps({"Version": "2012-10-17", "Statement": [allow("*", "*")]}))
    arn = f"arn:aws:iam::{ELSEWHERE}:role/admin"
    session = sts_backends[ELSEWHERE]["aws"].assume_role("us-east-1", "admin", arn, "", 3600, "")
    return {
        "AWS_ACCESS_KEY_ID": session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
        "AWS_SESSION_TOKEN": session.session_token,
    }


def root(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.tf").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ('provider "aws" {\n region = "us-west-2"\n}', "us-west-2"),
        ('provider "aws" {\n region = var.region\n}\nvariable "region" {\n default = "us-east-2"\n}', "us-east-2"),
        ('provider "aws" {\n alias = "b"\n region = "us-west-2"\n}\nprovider "aws" {\n}', "eu-west-1"),
        ("locals {\n}", "eu-west-1"),
        ('provider "aws" {\n region = local.region\n}', None),
    ],
)
@pytest.mark.usefixtures("caller")
def test_the_region_is_that_of_the_root_s_provider(tmp_path, text, region):
    here = account.place(root(tmp_path, main=text))
    assert (here.account, here.region) == (HERE, region)


def test_a_variable_of_the_environment_comes_before_its_default(tmp_path, caller):
    text = 'provider "aws" {\n region = var.region\n}\nvariable "region" {\n default = "us-east-2"\n}'
    assert account.place(root(tmp_path, main=text), caller | {"TF_VAR_region": "us-west-1"}).region == "us-west-1"


@pytest.mark.usefixtures("caller")
def test_the_account_is_that_of_the_role_that_the_provider_assumes(tmp_path):
    role = f'provider "aws" {{\n assume_role {{\n role_arn = "arn:aws:iam::{ELSEWHERE}:role/x"\n }}\n}}'
    assert account.place(root(tmp_path, main=role)).account == ELSEWHERE
    unknown = role.replace(f'"arn:aws:iam::{ELSEWHERE}:role/x"', "local.role")
    assert account.place(root(tmp_path, main=unknown)).account is None


def test_an_empty_state_belongs_to_nobody_yet(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", (tmp_path / "empty").open("w+"))
    assert account.main([str(ROOT / "terraform" / "dev")]) is None


def test_without_credentials_one_line_says_so(monkeypatch, caller):
    for name in caller:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    said = account.main([str(ROOT / "terraform" / "dev"), "--ask", "Go on?"])
    assert said is not None
    assert said.startswith("Who calls is not known:")


def test_credentials_that_change_while_the_question_is_open_change_nothing(monkeypatch, caller, capsys):
    def answer(_: str) -> str:
        for name, value in elsewhere().items():
            monkeypatch.setenv(name, value)
        return "yes"

    monkeypatch.setattr("builtins.input", answer)
    said = account.main([str(ROOT / "terraform" / "dev"), "--ask", "Go on?"])
    assert f"account {HERE}, region us-east-1, endpoint {caller['AWS_ENDPOINT_URL']}" in capsys.readouterr().out
    assert said is not None
    assert said.startswith(f"Nothing was changed: meanwhile you are in account {ELSEWHERE}")


def test_terraform_alone_destroys_nothing_of_another_account_once_the_list_is_filled_in(tmp_path, caller):
    """While it is empty, destroy forgets everything and succeeds: that is why make compares as well."""
    for file in ("terraform/dev/providers.tf", "terraform/dev/.terraform.lock.hcl", "versions.tf"):
        shutil.copy(ROOT / file, tmp_path)
    root(tmp_path, main='resource "aws_cloudwatch_log_group" "main" {\n name = "kept"\n}')
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_VAR_"))}

    def terraform(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["terraform", *arguments], cwd=tmp_path, env=environment | caller | {"CHECKPOINT_DISABLE": "1"} | variables,
            text=True, capture_output=True, check=False,
        )  # fmt: skip

    def state() -> dict[str, Any]:
        return dict(json.loads((tmp_path / "terraform.tfstate").read_text()))

    assert terraform("init", "-lockfile=readonly", f"-plugin-dir={plans.installed_provider()}").returncode == 0
    made = terraform("apply", "-auto-approve", "-no-color")
    assert made.returncode == 0, made.stderr
    arns = list(account.arns_of(state()))
    assert account.refusal(tmp_path, arns, account.place(tmp_path)) is None
    assert f"is of account {HERE}" in (account.refusal(tmp_path, arns, account.Place(ELSEWHERE, "us-east-1", "")) or "")

    mistyped = terraform("plan", "-no-color", TF_VAR_allowed_account_ids='["1234-5678-9012"]')
    assert "must be AWS account numbers of 12 digits each" in " ".join(mistyped.stderr.split())
    filled_in = {"TF_VAR_allowed_account_ids": json.dumps([HERE])}
    refused = terraform("destroy", "-auto-approve", "-no-color", **elsewhere(), **filled_in)
    assert refused.returncode != 0
    assert "AWS account ID not allowed" in " ".join(refused.stderr.split())
    assert list(account.arns_of(state())) == arns

    assert terraform("destroy", "-auto-approve", **elsewhere()).returncode == 0
    assert state()["resources"] == []
