"""The layer's files: below python/ psycopg2 and the library, below certificates/ the roots to verify servers against.

Three ways lead there: in Lambda's image with Docker, from wheels for Lambda without it, and from wheels for the machine
at hand. All take the same pins and the same finish.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from build.certificates import write_certificates
from build.finish import remove_leftovers

ROOT = Path(__file__).resolve().parents[1]

PYTHON_VERSION = "3.13"
DOCKER_PLATFORMS = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
# Wheels for the runtime's glibc 2.34 (Amazon Linux 2023) or any older one. One old tag alone would be a trap:
# psycopg2-binary has manylinux2014 for x86_64 but only manylinux_2_28 for aarch64.
WHEEL_PLATFORMS = {"x86_64": "x86_64-manylinux_2_34", "arm64": "aarch64-manylinux_2_34"}

_UV = ROOT / ".venv" / "uv" / "bin" / "uv"
_REQUIREMENTS = ROOT / "build" / "requirements" / "layer.txt"
_FINISH = ROOT / "build" / "finish.py"


def make_with_docker(tree: Path, arch: str) -> None:
    """Make the files in Lambda's image of its Python. The image also imports what it made."""
    subprocess.run(docker_command(tree, arch), check=True)
    write_certificates(tree / "certificates")


def make_from_wheels(tree: Path, arch: str) -> None:
    """Make the files that Docker would, from the wheels that pip would choose there."""
    platform = ["--python-version", PYTHON_VERSION, "--python-platform", WHEEL_PLATFORMS[arch]]
    _install(tree, "--python", sys.executable, *platform)
    if sys.implementation.cache_tag == f"cpython-{PYTHON_VERSION.replace('.', '')}":
        subprocess.run([sys.executable, "-I", _FINISH, tree / "python"], check=True)
    else:
        remove_leftovers(tree / "python")
        print(f"No Python {PYTHON_VERSION}: the layer holds no .pyc files and is slower to import.")
    write_certificates(tree / "certificates")


def make_for(python: Path, tree: Path) -> None:
    """Make the files for the interpreter `python` of this machine, whatever its version and platform."""
    _install(tree, "--python", str(python))
    subprocess.run([python, "-I", _FINISH, tree / "python"], check=True)
    write_certificates(tree / "certificates")


def docker_command(tree: Path, arch: str) -> list[str]:
    """Return the command that exports the image's files to `tree` and leaves no image behind."""
    return [
        *(
            "docker",
            "buildx",
            "build",
            "--platform",
            DOCKER_PLATFORMS[arch],
            "--file",
            str(ROOT / "build" / "Dockerfile"),
        ),
        *("--output", f"type=local,dest={tree}", str(ROOT)),
    ]


def docker_answers() -> bool:
    """Tell whether there are a Docker engine and BuildKit's command, not only Docker's."""
    questions = (["docker", "version", "--format", "{{.Server.Version}}"], ["docker", "buildx", "version"])
    try:
        for question in questions:
            subprocess.run(question, capture_output=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _install(tree: Path, *target: str) -> None:
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--link-mode=copy"]
    python = tree / "python"
    subprocess.run([_UV, "pip", "install", *options, *target, "--target", python, "-r", _REQUIREMENTS], check=True)
    shutil.copytree(ROOT / "lambda" / "layer", python, dirs_exist_ok=True)
