"""Package the function that make was given, and declare it in an environment.

FUNCTION=path HANDLER=module.function python -m tools.own_function --arch ARCH --python VERSION [terraform/ENV]

With an environment, function_override.tf.json in its folder names the zip and the handler from then on: Terraform
merges it into main.tf, and make reads from it what to package again. It belongs into version control.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build import function, layer
from build.checks import PackageError
from tools.declaration import OVERRIDE, declaration

ROOT = layer.ROOT
OUTPUT = ROOT / "build" / "output"
SAMPLE = ROOT / "lambda" / "function"

_NEEDS_PROVIDER = {"3.14": (6, 20)}  # github.com/hashicorp/terraform-provider-aws, pull request 45024
_LOCKED = re.compile(r'hashicorp/aws"\s*\{[^}]*?version\s*=\s*"(\d+)\.(\d+)[^"]*"')


def main(arguments: Sequence[str]) -> str | None:
    """Package and declare; return what is wrong, if anything, before a file of the environment has changed."""
    parser = argparse.ArgumentParser(prog="python -m tools.own_function", description=__doc__)
    parser.add_argument("environment", nargs="?", type=Path)
    parser.add_argument("--arch", required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--unless-made", action="store_true", help="take the zip that there is")
    given = parser.parse_args(arguments)
    folder, handler = os.environ.get("FUNCTION", ""), os.environ.get("HANDLER", "")
    override = given.environment / OVERRIDE if given.environment else None
    if handler and not folder:
        return "HANDLER needs FUNCTION, the folder that it is in."
    if given.environment and (refused := _refused_by_provider(given.environment, given.python)):
        return refused
    if folder and (ROOT / folder).resolve() == SAMPLE.resolve():
        if override and override.exists():
            override.unlink()
            print(f"{override} is removed: {given.environment.name} has the sample function again.")
        return None
    if not folder and given.environment:
        declared = declaration(given.environment)
        folder, handler = declared.get("FUNCTION", ""), declared.get("HANDLER", "")
    if not folder:
        return None
    wanted = function.Function(Path(folder), handler or function.HANDLER, given.arch, given.python)
    failed = _package(wanted, unless_made=given.unless_made)
    if override and not failed:
        _declare(override, wanted)
    return failed


def _package(wanted: function.Function, *, unless_made: bool) -> str | None:
    package = OUTPUT / wanted.zip_name
    if unless_made and package.exists():
        return None
    try:
        function.make(wanted, OUTPUT)
    except PackageError as error:
        return f"{package.name} was not made: {error}"
    except subprocess.CalledProcessError as error:
        return f"{package.name} was not made: {Path(error.cmd[0]).name} failed."
    print(f"{package.relative_to(ROOT)}: {package.stat().st_size:,} bytes, handler {wanted.handler}")
    return None


def _declare(override: Path, wanted: function.Function) -> None:
    declared: dict[str, Any] = {
        "//": {
            "FUNCTION": Path(os.path.relpath(wanted.folder, ROOT)).as_posix(),
            "HANDLER": wanted.handler,
            "ARCH": wanted.arch,
            "PYTHON_VERSION": wanted.version,
        },
        "module": {
            "function": {
                "package": f"${{path.root}}/../../build/output/{wanted.zip_name}",
                "handler": wanted.handler,
            }
        },
    }
    text = json.dumps(declared, indent=2) + "\n"
    if not override.exists() or override.read_text(encoding="utf-8") != text:
        override.write_text(text, encoding="utf-8")
        print(f"{override} names this function from now on: commit it. FUNCTION=lambda/function leads back.")


def _refused_by_provider(environment: Path, version: str) -> str | None:
    least, lock = _NEEDS_PROVIDER.get(version), environment / ".terraform.lock.hcl"
    found = _LOCKED.search(lock.read_text(encoding="utf-8")) if least and lock.exists() else None
    if least is None or found is None or tuple(map(int, found.groups())) >= least:
        return None
    return (
        f"The provider {'.'.join(found.groups())} that {lock} has chosen refuses python{version}: it needs aws"
        f" {'.'.join(map(str, least))} or newer. First: terraform -chdir={environment} init -upgrade"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
