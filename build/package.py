"""Make one zip of build/output.

python -m build.package layer --arch x86_64|arm64 [--with docker|wheels]
python -m build.package layer-local
python -m build.package function|bootstrap
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from build import layer
from build.archive import write_zip

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "output"


def main() -> None:
    arguments = _parser().parse_args()
    name = f"layer-{arguments.arch}" if arguments.package == "layer" else arguments.package
    with tempfile.TemporaryDirectory(prefix="package-") as folder:
        tree = Path(folder) / name
        try:
            _fill(tree, arguments)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{name}.zip was not made: {Path(error.cmd[0]).name} failed (its message is above).")
        package = OUTPUT / f"{name}.zip"
        write_zip(package, tree)
    print(f"{package.relative_to(ROOT)}: {package.stat().st_size:,} bytes")


def _fill(tree: Path, arguments: argparse.Namespace) -> None:
    match arguments.package:
        case "layer" if arguments.way == "docker" or (arguments.way is None and layer.docker_answers()):
            print("Docker builds the layer in public.ecr.aws/lambda/python.", flush=True)
            layer.make_with_docker(tree, arguments.arch)
        case "layer":
            why = "As asked" if arguments.way else "No Docker engine with buildx"
            print(f"{why}: the layer is built from the pinned wheels for Lambda's platform.", flush=True)
            layer.make_from_wheels(tree, arguments.arch)
        case "layer-local":
            layer.make_for(ROOT / ".venv" / "runtime" / "bin" / "python", tree)
        case source:
            shutil.copytree(ROOT / "lambda" / source, tree, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build.package", description="Make one zip of build/output.")
    packages = parser.add_subparsers(dest="package", required=True)
    lambda_layer = packages.add_parser("layer", help="the layer for Lambda")
    lambda_layer.add_argument("--arch", choices=layer.DOCKER_PLATFORMS, required=True)
    lambda_layer.add_argument("--with", dest="way", choices=["docker", "wheels"], help="default: docker if it answers")
    packages.add_parser("layer-local", help="the layer for .venv/runtime on this machine")
    packages.add_parser("function", help="the sample function")
    packages.add_parser("bootstrap", help="the bootstrap function and its migrations")
    return parser


if __name__ == "__main__":
    main()
