"""Make one zip of build/output.

python -m build.package layer --arch x86_64|arm64 [--python 3.12|3.13|3.14] [--with docker|wheels]
python -m build.package layer-local
python -m build.package function|frameworks
python -m build.package bootstrap [--migrations FOLDER] [--for x86_64|arm64]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from build import checks, function, layer
from build.archive import write_zip
from build.certificates import write_certificates
from build.layer import ROOT
from build.migrations import application_of, bring_hook, hook_of, replace_migrations
from build.sbom import SbomError, write_sbom

OUTPUT = ROOT / "build" / "output"


def main() -> None:
    arguments = _parser().parse_args()
    arch = arguments.arch
    name = layer.name(arch, arguments.python) if arch else arguments.package
    migrations = arguments.migrations
    hook = hook_of(migrations, arguments.hook_arch)
    package = OUTPUT / f"{name}.zip"
    try:
        if migrations:
            package = OUTPUT / f"{name}-{application_of(migrations)}.zip"
        with tempfile.TemporaryDirectory(prefix="package-") as folder:
            tree = Path(folder) / name
            if arguments.package.startswith("layer"):
                _fill_layer(tree, arch, arguments.python, arguments.way)
                write_certificates(tree / "certificates")
                write_sbom(tree / "sbom.cdx.json", tree, name=name)
            elif name == "frameworks":
                layer.make_frameworks(tree)
            else:
                source = ROOT / "lambda" / name
                is_package = (source / "__init__.py").exists()
                shutil.copytree(source, tree / name if is_package else tree, ignore=layer.NOT_SOURCE)
                if hook:
                    bring_hook(tree / name, hook, OUTPUT)
                elif migrations:
                    replace_migrations(tree / name, migrations)
            _write_checked(package, tree, arch, hook)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{package.name} was not made: {Path(error.cmd[0]).name} failed.")
    except (checks.PackageError, SbomError) as error:
        sys.exit(f"{package.name} was not made: {error}")
    print(f"{package.relative_to(ROOT)}: {package.stat().st_size:,} bytes")


def _fill_layer(tree: Path, arch: str | None, version: str, way: str | None) -> None:
    if arch is None:
        layer.make_for_interpreter(tree, ROOT / ".venv" / "runtime" / "bin" / "python")
    elif version != layer.PYTHON_VERSION:
        print(f"The layer of Python {version} is built from the pinned wheels for Lambda's platform.", flush=True)
        layer.make_from_wheels(tree, arch, version)
    elif way == "docker" or (way is None and layer.docker_answers()):
        print("Docker builds the layer in public.ecr.aws/lambda/python:3.13.", flush=True)
        layer.make_in_docker(tree, arch)
    else:
        why = "As asked" if way else "No Docker engine with buildx"
        print(f"{why}: the layer is built from the pinned wheels for Lambda's platform.", flush=True)
        layer.make_from_wheels(tree, arch)


def _write_checked(package: Path, tree: Path, arch: str | None, hook: function.Function | None) -> None:
    """Write a zip, which appears whole and fit for Lambda or not at all."""
    package.parent.mkdir(parents=True, exist_ok=True)
    unfinished = package.with_name(f".{package.name}.{os.getpid()}")
    try:
        write_zip(unfinished, tree)
        checks.check_size(unfinished)
        if hook:
            function.check(hook, unfinished, OUTPUT)
        if arch:
            checks.check_shared_objects(unfinished, arch)
        unfinished.replace(package)
    finally:
        unfinished.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build.package", description="Make one zip of build/output.")
    parser.set_defaults(arch=None, way=None, migrations=None, hook_arch="x86_64", python=layer.PYTHON_VERSION)
    packages = parser.add_subparsers(dest="package", required=True)
    for_lambda = packages.add_parser("layer", help="the layer for Lambda")
    for_lambda.add_argument("--arch", choices=layer.DOCKER_PLATFORMS, required=True)
    for_lambda.add_argument("--python", choices=layer.PYTHON_VERSIONS, default=layer.PYTHON_VERSION)
    for_lambda.add_argument("--with", dest="way", choices=["docker", "wheels"], help="default: docker if it answers")
    packages.add_parser("layer-local", help="the layer for .venv/runtime on this machine")
    packages.add_parser("function", help="the sample function")
    bootstrap = packages.add_parser("bootstrap", help="the bootstrap function and an application's migrations")
    bootstrap.add_argument(
        "--migrations", type=Path, help="another application's folder: orders/migrations makes bootstrap-orders.zip"
    )
    bootstrap.add_argument(
        "--for",
        dest="hook_arch",
        default="x86_64",
        choices=layer.DOCKER_PLATFORMS,
        help="what a folder's requirements are to run on",
    )
    packages.add_parser("frameworks", help="the optional modules for SQLAlchemy, psycopg 3 and Django: a second layer")
    return parser


if __name__ == "__main__":
    main()
