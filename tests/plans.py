"""Plan a module, or a whole root, and look into what it would make.

A module is planned alone through a small generated root, with no credentials and no network. A root is planned as it
is, in a copy of the tree, against an empty moto server that only the environment names.
"""

import atexit
import fcntl
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from python_terraform import IsFlagged, IsNotFlagged, Terraform

from tests.provider import Relay

ROOT = Path(__file__).parents[1]

_KEY = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-00000000000"
_NETWORK = {
    "vpc_id": "vpc-0a",
    "subnet_ids": ["subnet-0a", "subnet-0b"],
    "security_group_ids": {tier: f"sg-{tier}" for tier in ("function", "proxy", "database", "bootstrap")},
    "log_key_arn": f"{_KEY}1",
    "location": {"partition": "aws", "region": "us-east-1", "account": "111122223333"},
}
_CONNECTION = {
    "host": "app.abcdefghijkl.us-east-1.rds.amazonaws.com",
    "port": 5432,
    "database": "app",
    "rds_db_arn_prefix": "arn:aws:rds-db:us-east-1:111122223333:dbuser:db-ABCDEFGHIJKL",
    "ca_file": "rds-us-east-1.pem",
    "max_clients": 85,
    "shares": None,
    "pool_size": None,
    "borrow_timeout_seconds": 0,
    "auth": None,
    "direct": True,
}
# The same through a proxy.
POOLED = {
    **_CONNECTION,
    "host": "app.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com",
    "rds_db_arn_prefix": "arn:aws:rds-db:us-east-1:111122223333:dbuser:prx-ABCDEFGHIJKL",
    "ca_file": "amazon-trust-services.pem",
    "max_clients": None,
    "pool_size": 643,
    "borrow_timeout_seconds": 5,
    "auth": "iam",
    "direct": False,
}
_APPLICATION = {
    "user": "app",
    "iam_user": "app_iam",
    "secret_arn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-application-AbCdEf",
    "key_arn": f"{_KEY}2",
}
# A state writes terraform_data's values, of any type, otherwise; over half-known rules the provider stumbles.
NOT_IN_A_STATE = ("terraform_data", "aws_vpc_security_group_")

# What the function module's output alias is.
_ALIAS = {
    "name": "app",
    "qualifier": "live",
    "arn": "arn:aws:lambda:us-east-1:111122223333:function:app:live",
    "invoke_arn": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:111122223333"
    ":function:app:live/invocations",
    "role": "app-role",
    "timeout_seconds": 15,
    "reserved_concurrency": 20,
}

_ZIPS = {"package": "package.zip", "layer": "layer-x86_64.zip"}

# What each module is given when a test says nothing else.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "network": {
        "name": "app",
        "zone_ids": ["use1-az1", "use1-az2"],
        "paths": [["function", "proxy", "database"], ["bootstrap", "database"]],
        "endpoints": {"secretsmanager": ["bootstrap"]},
    },
    "database": {"name": "app", "network": _NETWORK, "instance_class": "db.t4g.micro"},
    "cluster": {
        "name": "app",
        "network": {**_NETWORK, "zone_names": ["us-east-1a", "us-east-1b"]},
        "instance_class": "db.r7g.large",
    },
    "bootstrap": {
        "name": "app",
        "network": _NETWORK,
        "database": {
            "connection": _CONNECTION,
            "master_secret_arn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:rds!db-AbCdEf",
            "key_arn": f"{_KEY}2",
        },
        **_ZIPS,
    },
    "proxy": {
        "name": "app",
        "network": _NETWORK,
        "database": {"identifier": "app", "instance_class": "db.m7g.large", "connection": _CONNECTION},
        "applications": [_APPLICATION],
    },
    "function": {
        "name": "app",
        "network": _NETWORK,
        "connection": _CONNECTION,
        "application": _APPLICATION,
        "migration": "migrated",
        "reserved_concurrency": 20,
        **_ZIPS,
    },
    "http": {"name": "app", "network": _NETWORK, "function": _ALIAS, "authorization": "iam"},
    "queue": {"name": "app", "function": _ALIAS, "maximum_concurrency": 10},
    "observability": {
        "name": "app",
        "network": {"location": _NETWORK["location"]},
        "functions": [
            {"name": "app", "timeout_seconds": 15, "reserved_concurrency": 400, "dead_letter_queue": "app-dead-letters"}
        ],
        "proxy": {"name": "app", "pool_size": 643, "borrow_timeout_seconds": 5},
        "database": {"identifier": "app", "max_clients": 715, "memory_gib": 8, "storage_gib": 20},
        "bootstrap": {"name": "app-bootstrap"},
    },
}

# By case: wrong arguments, and a phrase of the message that refuses them.
Refusals = Mapping[str, tuple[Mapping[str, Any], str]]


class PlanError(Exception):
    """Terraform refused to plan; the message is all it said, and `by_module` that by module call where it says so."""

    def __init__(self, diagnostics: list[dict[str, Any]]) -> None:
        self.diagnostics = diagnostics
        self.by_module: dict[str, str] = {}
        for diagnostic in diagnostics:
            where = diagnostic.get("address") or (diagnostic.get("snippet") or {}).get("context") or ""
            call = where.removeprefix("module.").split(".")[0]
            said = f"{self.by_module.get(call, '')}\n{diagnostic['summary']}: {diagnostic['detail']}"
            self.by_module[call] = said.strip()
        super().__init__("\n".join(self.by_module.values()))


class Plan:
    """The values that a plan would give to each resource, by address; unknown ones are absent."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.changes = {change["address"]: change for change in document["resource_changes"]}

    def __getitem__(self, address: str) -> dict[str, Any]:
        after: dict[str, Any] = self.changes[address]["change"]["after"]
        return after

    def of_type(self, kind: str, *, call: str | None = None) -> dict[str, dict[str, Any]]:
        """The resources of one type, in all module calls or in one, by address."""
        return {
            address: change["change"]["after"]
            for address, change in self.changes.items()
            if change["type"] == kind and change["mode"] == "managed"
            if call is None or change["module_address"] == f"module.{call}"
        }

    def warnings(self, call: str) -> list[str]:
        """What the failed checks of one module call say."""
        return [
            problem["message"]
            for check in self.document.get("checks", [])
            if check["address"]["to_display"].startswith(f"module.{call}.check.")
            for instance in check.get("instances", [])
            for problem in instance.get("problems", [])
        ]

    def references(self, module: str, argument: str) -> list[str]:
        """What a root's module call refers to in one of its arguments."""
        call = self.document["configuration"]["root_module"]["module_calls"][module]
        found: list[str] = call["expressions"][argument].get("references", [])
        return found


def plan_module(name: str, /, **arguments: Any) -> Plan:
    """Plan one module alone with ARGUMENTS, changed by `arguments`."""
    folder = module_root(name, {name: arguments})
    return plan_folder(folder)


def plan_variants(name: str, /, **variants: Mapping[str, Any]) -> Plan:
    """Plan one module once for each variant, a call of that name, with ARGUMENTS changed by the variant's."""
    return plan_folder(module_root(name, variants))


def plan_calls(**calls: tuple[str, Mapping[str, Any]]) -> Plan:
    """Plan one root that calls several modules, each with ARGUMENTS changed by its own."""
    return plan_folder(calls_root(calls))


def plan_replacement(name: str, address: str, /, **arguments: Any) -> Plan:
    """Plan one module as if it stood as planned, and one of its resources had to be made anew."""
    folder = module_root(name, {name: arguments})
    state = state_as_planned(plan_folder(folder))
    (folder / "terraform.tfstate").write_text(json.dumps(state))
    return plan_folder(folder, replace=address, refresh=False)


def plan_standing(name: str, /, **arguments: Any) -> Plan:
    """Plan one module as if it stood as planned: each id is the address, each ARN is known, and so is each policy."""
    folder = module_root(name, {name: arguments})
    (folder / "terraform.tfstate").write_text(json.dumps(state_as_planned(plan_folder(folder))))
    return plan_folder(folder, refresh=False)


def arn(kind: str, name: str) -> str:
    """The ARN that a resource has in a module that is planned as if it stood."""
    return f"arn:aws:planned:us-east-1:111122223333:{kind}:{name}"


def plan_change(
    name: str, remembered: str, /, before: Mapping[str, Any], after: Mapping[str, Any], *, replace: str | None = None
) -> Plan:
    """Plan one module with arguments `after` where one of its terraform_data remembers those of `before`."""
    folder = module_root(name, {name: before})
    terraform(folder, "apply", auto_approve=IsFlagged, input=False, target=f"module.{name}.{remembered}")
    root = json.loads((folder / "main.tf.json").read_text())
    root["module"][name] |= after
    (folder / "main.tf.json").write_text(json.dumps(root))
    return plan_folder(folder, **({} if replace is None else {"replace": f"module.{name}.{replace}"}))


def plan_refusals(cases: Mapping[str, tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Plan modules with wrong arguments, by case a module and its arguments, and return what Terraform says to each.

    Terraform refuses in stages: first what one variable shows, then what several do, then preconditions. What it does
    not say of which call it is, the plan that it leaves does.
    """
    refused: dict[str, str] = {}
    while left := {case: call for case, call in cases.items() if case not in refused}:
        folder = calls_root(left)
        try:
            plan_folder(folder)
        except PlanError as error:
            said = {case: text for case, text in error.by_module.items() if case in left} or _failed_checks(folder)
            if not said.keys() & left.keys():
                raise
            refused |= said
        else:
            break
    return refused


def _failed_checks(folder: Path) -> dict[str, str]:
    """By module call: what failed in the plan that a refusal left."""
    left: dict[str, Any] = json.loads(terraform(folder, "show", "plan", json=IsFlagged))
    return {
        check["address"]["module"].removeprefix("module."): problem["message"]
        for check in left["checks"]
        if check["status"] == "fail" and "module" in check["address"]
        for instance in check.get("instances", [])
        for problem in instance.get("problems", [])
    }


def plan_root(name: str, /, **overrides: Mapping[str, Any]) -> Plan:
    """Plan terraform/<name> as it is, or with arguments of its module calls overridden."""
    folder = _tree() / "terraform" / name
    if overrides:
        folder = Path(
            shutil.copytree(
                folder, tempfile.mkdtemp(prefix=f"{name}-", dir=folder.parent), symlinks=True, dirs_exist_ok=True
            )
        )
        (folder / "override.tf.json").write_text(json.dumps({"module": overrides}))
    with patch.dict(os.environ, {"AWS_ENDPOINT_URL": control_plane()}):
        terraform(folder, "get")
        return plan_folder(folder)


def plan_folder(folder: Path, **options: Any) -> Plan:
    """Plan a root in a folder that `get` was run in."""
    options |= {"input": False, "out": "plan", "lock": False, "detailed_exitcode": IsNotFlagged, "json": IsFlagged}
    terraform(folder, "plan", **options)
    return Plan(json.loads(terraform(folder, "show", "plan", json=IsFlagged)))


def state_as_planned(plan: Plan) -> dict[str, Any]:
    """The state after an apply, with an address for every id and ARN."""
    resources = [
        {
            "module": module["address"],
            "provider": f'provider["{resource["provider_name"]}"]',
            **{key: resource[key] for key in ("mode", "type", "name")},
            "instances": [
                {
                    "schema_version": resource["schema_version"],
                    "attributes": _known_once_made(resource) | resource.get("values", {}),
                    **({"index_key": resource["index"]} if "index" in resource else {}),
                }
            ],
        }
        for module in plan.document["planned_values"]["root_module"]["child_modules"]
        for resource in module["resources"]
        if not resource["type"].startswith(NOT_IN_A_STATE)
    ]
    return {"version": 4, "serial": 1, "lineage": "planned", "outputs": {}, "resources": resources}


def _known_once_made(resource: dict[str, Any]) -> dict[str, str]:
    known = {"id": resource["address"], "arn": arn(resource["type"], resource["name"])}
    known |= {
        "aws_vpc": {"owner_id": "111122223333"},
        "aws_db_instance": {"resource_id": "db-PLANNED"},
        "aws_db_proxy_endpoint": {"endpoint": resource["address"]},
        "aws_db_proxy_default_target_group": {"name": "default"},
        "aws_rds_cluster": {"cluster_resource_id": "cluster-PLANNED"},
    }.get(resource["type"], {})
    if resource.get("values", {}).get("name_prefix"):
        known["name"] = resource["address"]
    return known


def terraform(folder: Path, command: str, *arguments: str, **options: Any) -> str:
    """Run terraform with a provider that runs already; `get` is all the init that a folder needs."""
    with _clean_environment(), patch.dict(os.environ, attached()):
        return _run(folder, command, *arguments, **options)


def terraform_alone(folder: Path, command: str, *arguments: str, **options: Any) -> str:
    """The same with a provider that Terraform starts: for a root that configures it more than once."""
    with _clean_environment(), patch.dict(os.environ, {"TF_CLI_CONFIG_FILE": str(configuration())}):
        return _run(folder, command, *arguments, **options)


_relays: dict[frozenset[tuple[str, str]], Relay] = {}


def attached() -> dict[str, str]:
    """The variables that lead Terraform to a provider of this process's account; one is kept."""
    account = frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    if account not in _relays:
        while _relays:
            _relays.popitem()[1].end()
        _relays[account] = relay(os.environ)
    return _relays[account].variables


def relay(environment: Mapping[str, str], folder: Path = ROOT) -> Relay:
    """Start the installed provider with this environment, in the folder of the root that it will apply."""
    [binary] = installed_provider().glob("registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws_*")
    return Relay(binary, environment, folder)


def _run(folder: Path, command: str, *arguments: str, **options: Any) -> str:
    code, out, err = Terraform(working_dir=str(folder)).cmd(command, *arguments, no_color=IsFlagged, **options)
    if code == 0:
        return str(out)
    if not out.startswith("{"):
        raise RuntimeError(f"terraform {command}: {err}")
    events = [json.loads(line) for line in out.splitlines()]
    raise PlanError([event["diagnostic"] for event in events if event.get("@level") == "error"])


@contextmanager
def _clean_environment() -> Iterator[None]:
    """Hide whatever of the user's own AWS and Terraform settings could change a plan."""
    mine = {
        "AWS_ACCESS_KEY_ID": "planning",
        "AWS_SECRET_ACCESS_KEY": "planning",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "CHECKPOINT_DISABLE": "1",
    }
    if "AWS_ENDPOINT_URL" in os.environ:  # a test's own account, with its key
        mine |= {
            name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if name in os.environ
        }
    theirs = (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "TF_DATA_DIR",
        "TF_REATTACH_PROVIDERS",
        "TF_CLI_ARGS",
        "TF_VAR_",
        "TF_WORKSPACE",
    )
    with patch.dict(os.environ, mine):
        for name in [name for name in os.environ if name.startswith(theirs)]:
            del os.environ[name]
        yield


def temporary_folder() -> Path:
    """A folder that is removed when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="plan-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def write_zip(path: Path) -> None:
    """A zip that exists is all a plan asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), "")  # of 1980, so that its hash does not change


@cache
def configuration() -> Path:
    """A CLI configuration that names the installed provider.

    It was held against the lock file when it was installed: Terraform then does not do so again at every command, which
    takes as long as planning.
    """
    [provider] = installed_provider().glob("registry.terraform.io/hashicorp/aws/*/*")
    path = temporary_folder() / "terraform.rc"
    path.write_text(
        f'provider_installation {{\n  dev_overrides {{\n    "hashicorp/aws" = "{provider}"\n  }}\n  direct {{}}\n}}\n'
    )
    return path


@cache
def installed_provider() -> Path:
    """The lock file's provider, installed once for all folders, in a folder that -plugin-dir takes."""
    folder = ROOT / ".venv" / "plugins"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        locked = (ROOT / "terraform" / "prod" / ".terraform.lock.hcl").read_text()
        copy = folder / ".terraform.lock.hcl"
        if not copy.exists() or copy.read_text() != locked:
            shutil.copy(ROOT / "versions.tf", folder)
            copy.write_text(locked)
            try:
                with _clean_environment():
                    _run(folder, "init", input=False, lockfile="readonly")
            except RuntimeError:
                copy.unlink()
                raise
    return folder / ".terraform" / "providers"


def module_root(name: str, calls: Mapping[str, Mapping[str, Any]]) -> Path:
    """A root that calls one module, once for each set of arguments."""
    return calls_root({call: (name, arguments) for call, arguments in calls.items()})


def calls_root(calls: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Path:
    """A root that calls modules, each with ARGUMENTS changed by its own."""
    folder = temporary_folder()
    for zip_name in (*_ZIPS.values(), "layer-arm64.zip"):
        write_zip(folder / zip_name)
    for before in range(3):  # base64 has three forms of a text
        content = f"{'-' * before}python/psycopg2/_psycopg.cpython-312-x86_64-linux-gnu.so"
        (folder / ("layer-python3.12-x86_64.zip", "compiled-1.zip", "compiled-2.zip")[before]).write_text(content)
    # Relative: Terraform reads such a module where it is, and would copy one that an absolute path names.
    modules = os.path.relpath((ROOT / "modules").resolve(), folder)
    root = {
        "provider": {
            "aws": {
                "region": "us-east-1",
                "skip_credentials_validation": True,
                "skip_requesting_account_id": True,
                "skip_metadata_api_check": True,
            }
        },
        "module": {
            call: {"source": f"{modules}/{name}", **ARGUMENTS[name], **arguments}
            for call, (name, arguments) in calls.items()
        },
    }
    (folder / "main.tf.json").write_text(json.dumps(root))
    terraform(folder, "get")
    return folder


def copy_tree() -> Path:
    """A copy of the roots, the examples and the modules with zips that need no build, and with no backend."""
    copy = temporary_folder()
    for name in ("terraform", "modules", "examples"):
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfplan", "backend.tf")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    applications = [f"bootstrap-{name}" for name in ("platform", "orders", "users", "users-api", "aurora")]
    functions = ["function", "function-examples-users-api", "function-examples-aurora"]
    for name in (*functions, "bootstrap", "layer-x86_64", *applications):
        write_zip(copy / "build" / "output" / f"{name}.zip")
    return copy


_tree = cache(copy_tree)


@cache
def control_plane() -> str:
    """The address of an empty moto server."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"
