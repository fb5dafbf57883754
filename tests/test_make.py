"""What make says to a user who asks for the impossible, before anything is changed."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from local.control_plane import ControlPlane
from tests.local.account import Account, Recorder, running

ROOT = Path(__file__).parents[1]


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | variables
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def old_terraform(tmp_path):
    """A program that answers `terraform version -json` as release 1.10 does, and nothing else."""
    program = tmp_path / "terraform"
    program.write_text("""#!/bin/sh\n[ "$1" = version ] && echo '{"terraform_version": "1.10.5"}'\n""")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("env", ["", "staging", "dev prod", "../dev"])
@pytest.mark.parametrize("target", ["plan", "deploy", "destroy", "invoke"])
def test_an_environment_that_is_none_is_refused_with_the_list(target, env):
    done = make(target, f"ENV={env}")
    assert done.returncode != 0
    assert "ENV must be one of: dev prod" in done.stderr


def test_a_missing_terraform_is_one_clear_line():
    done = make("plan", "ENV=dev", "TERRAFORM=no-such-terraform")
    assert done.returncode != 0
    assert "Terraform is missing" in done.stderr


def test_an_old_terraform_is_one_clear_line(old_terraform):
    done = make("plan", "ENV=dev", f"TERRAFORM={old_terraform}")
    assert done.returncode != 0
    assert "Terraform 1.10.5 is too old: 1.11 or newer is needed." in done.stderr


@pytest.mark.parametrize("target", ["invoke", "migrate", "psql", "reboot"])
def test_what_is_not_deployed_is_one_clear_line(target, tmp_path):
    done = make(target, "ENV=dev", LOCAL_STACK=str(tmp_path), AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode != 0
    assert "dev is not deployed here: make deploy ENV=dev" in done.stderr


@pytest.fixture(scope="module")
def account():
    with running(ControlPlane(Recorder())) as plane:
        account = Account(plane.url)
        account.instance("app-dev")
        yield account


@pytest.fixture
def deployed(account, tmp_path):
    """Make's variables for an environment that is deployed, with a terraform that keeps a record of its calls."""
    program, calls = tmp_path / "terraform", tmp_path / "calls"
    program.write_text(f"""#!/bin/sh
echo "$*" >>{calls}
case "$*" in
  *"output -raw function") echo arn:aws:lambda:us-east-1:123456789012:function:app-dev:live;;
  *"output -raw database") echo app-dev;;
  *"version -json"*) echo '{{"terraform_version": "1.11.4"}}';;
  *" plan "*) exit "$PLANNED";;
esac
""")
    program.chmod(0o755)
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    variables = {"TERRAFORM": str(program), "LOCAL_STACK": str(tmp_path), "AWS_ENDPOINT_URL": account.url, **keys}
    return calls, variables


def test_reboot_lets_terraform_remember_what_is_in_force(deployed):
    calls, variables = deployed
    done = make("reboot", "ENV=dev", "AUTO_APPROVE=1", **variables, PLANNED="0")
    assert done.returncode == 0, done.stderr
    assert "app-dev is rebooting" in done.stdout
    assert "app-dev is available" in done.stdout
    memory = "module.database.terraform_data.started_with"
    assert calls.read_text().splitlines()[-1].endswith(f"-target={memory} -replace={memory}")


def test_reboot_is_refused_before_the_parameters_are_applied(deployed):
    calls, variables = deployed
    done = make("reboot", "ENV=dev", "AUTO_APPROVE=1", **variables, PLANNED="2")
    assert done.returncode != 0
    assert "First: make deploy ENV=dev" in done.stderr
    assert "rebooting" not in done.stdout
    assert "apply" not in calls.read_text()


def test_reboot_asks(deployed):
    calls, variables = deployed
    done = make("reboot", "ENV=dev", **variables, PLANNED="0")
    assert done.returncode != 0
    assert "Nothing was changed." in done.stdout
    assert "rebooting" not in done.stdout
    assert "apply" not in calls.read_text()


def test_make_alone_lists_every_target_that_a_user_may_want():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    listed = set(re.findall(r"^  make ([a-z-]+) ", make().stdout, flags=re.MULTILINE))
    assert listed == targets
    assert {
        "package",
        "plan",
        "deploy",
        "destroy",
        "invoke",
        "demo",
        "demo-down",
        "test",
        "lint",
        "scan",
        "clean",
    } <= listed
