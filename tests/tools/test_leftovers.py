"""Log groups that AWS made again are adopted by the plan, with real Terraform."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import plans

ROOT = Path(__file__).parents[2]
LEFT, NEW = "/aws/rds/instance/app/postgresql", "/aws/rds/instance/app/upgrade"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root that calls a module with a log group for each of two logs."""
    monkeypatch.setenv("CHECKPOINT_DISABLE", "1")
    shutil.copy(plans.ROOT / "versions.tf", tmp_path)
    (tmp_path / "logs").mkdir()
    group = {"for_each": '${toset(["postgresql", "upgrade"])}', "name": "/aws/rds/instance/app/${each.key}"}
    module = {"resource": {"aws_cloudwatch_log_group": {"export": {**group, "retention_in_days": 7}}}}
    (tmp_path / "logs" / "main.tf.json").write_text(json.dumps(module))
    (tmp_path / "main.tf.json").write_text(
        json.dumps({"provider": {"aws": {"region": "us-east-1"}}, "module": {"database": {"source": "./logs"}}})
    )
    terraform(tmp_path, "get")
    for name, value in plans.attached().items():
        monkeypatch.setenv(name, value)
    return tmp_path


def terraform(root, *arguments):
    done = subprocess.run(["terraform", *arguments], cwd=root, text=True, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else done.stderr


def look_for_leftovers(root):
    """What make plan does after its first plan."""
    terraform(root, "plan", "-out=plan")
    shown = terraform(root, "show", "-json", "plan")
    command = [sys.executable, "-m", "tools.leftovers", str(root / "leftovers.tf.json")]
    return subprocess.run(command, cwd=ROOT, input=shown, text=True, capture_output=True, check=True).stdout


@pytest.mark.usefixtures("led_here")
def test_a_group_that_is_left_over_is_adopted_and_the_others_are_made(account, root):
    account.logs.create_log_group(logGroupName=LEFT)
    account.logs.create_log_group(logGroupName=f"{NEW}-of-another")
    assert LEFT in look_for_leftovers(root)
    assert "1 to import, 1 to add, 1 to change" in terraform(root, "plan", "-no-color", "-out=plan")
    (root / "leftovers.tf.json").unlink()  # the plan has it
    assert "1 imported, 1 added, 1 changed" in terraform(root, "apply", "-no-color", "plan")
    groups = account.logs.describe_log_groups(logGroupNamePrefix="/aws/rds/instance/app/")["logGroups"]
    assert {group["logGroupName"]: group.get("retentionInDays") for group in groups} == {
        LEFT: 7,
        NEW: 7,
        f"{NEW}-of-another": None,
    }
    assert look_for_leftovers(root) == ""
    assert not (root / "leftovers.tf.json").exists()
