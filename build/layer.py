"""The layer's `python` folder (psycopg2 and the library), made in one of three ways from the same pins.

In Lambda's image with Docker, and from wheels for Lambda without it: the same files with the same bytes, save that a
.pyc file may differ where the two Pythons differ in their patch release. From wheels for this machine: what runs here.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from build.finish import remove_leftovers

ROOT = Path(__file__).resolve().parents[1]
NOT_SOURCE = shutil.ignore_patterns("__pycache__", ".*", "README.md")

PYTHON_VERSION = "3.13"
PYTHON_VERSIONS = ("3.12", PYTHON_VERSION, "3.14")
DOCKER_PLATFORMS = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
# Wheels for the runtime's glibc 2.34 (Amazon Linux 2023) or any older one. One old tag alone would be a trap:
# psycopg2-binary has manylinux2014 for x86_64 but only manylinux_2_28 for aarch64.
WHEEL_PLATFORMS = {"x86_64": "x86_64-manylinux_2_34", "arm64": "aarch64-manylinux_2_34"}

UV = ROOT / ".venv" / "uv" / "bin" / "uv"
_REQUIREMENTS = ROOT / "build" / "requirements" / "layer.txt"


def name(arch: str, version: str) -> str:
    """Return the name of a layer's zip, without its suffix."""
    return f"layer-{arch}" if version == PYTHON_VERSION else f"layer-python{version}-{arch}"


def make_in_docker(tree: Path, arch: str) -> None:
    """Make the files in Lambda's image of Python 3.13, which also imports what it made."""
    subprocess.run(docker_command(tree, arch), check=True)


def make_from_wheels(tree: Path, arch: str, version: str = PYTHON_VERSION) -> None:
    """Make the files that Docker would, from the wheels that pip would choose there."""
    target = ["--python-version", version, "--python-platform", WHEEL_PLATFORMS[arch]]
    _install(tree / "python", "--python", sys.executable, *target)
    if python := find_python(version):
        _finish(tree / "python", python)
    else:
        remove_leftovers(tree / "python")
        print(f"No CPython {version} at hand: the layer holds no .pyc files and is slower to import.")


def make_for_interpreter(tree: Path, python: Path) -> None:
    """Make the files for an interpreter of this machine, whatever its version and platform."""
    _install(tree / "python", "--python", str(python))
    _finish(tree / "python", str(python))


def make_frameworks(tree: Path) -> None:
    """Make the optional modules: pure Python, so the same for every architecture, and merged over the layer in /opt."""
    shutil.copytree(ROOT / "lambda" / "frameworks", tree / "python", ignore=NOT_SOURCE)
    if sys.implementation.cache_tag == "cpython-313":
        _finish(tree / "python", sys.executable)


def find_python(version: str) -> str | None:
    """Return a CPython of this version on this machine; fetch none."""
    if sys.implementation.cache_tag == f"cpython-{version.replace('.', '')}":
        return sys.executable
    if version == PYTHON_VERSION:  # make took the nearest to it that there is
        return None
    command = [str(UV), "python", "find", "--system", "--no-project", "--no-python-downloads", f"cpython@{version}"]
    # pyenv's shims start only a version that is chosen.
    environment = {**os.environ, "PYENV_VERSION": version}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def docker_command(tree: Path, arch: str) -> list[str]:
    """Return the command that exports the image's files to `tree` and leaves no image behind."""
    options = {
        "--platform": DOCKER_PLATFORMS[arch],
        "--file": str(ROOT / "build" / "Dockerfile"),
        "--provenance": "false",  # else BuildKit writes its own file beside the layer's
        "--output": f"type=local,dest={tree}",
    }
    return ["docker", "buildx", "build", *(word for option in options.items() for word in option), str(ROOT)]


def docker_answers() -> bool:
    """Tell whether there are a Docker engine and buildx, which alone can export files, not only Docker's command."""
    questions = (["docker", "version", "--format", "{{.Server.Version}}"], ["docker", "buildx", "version"])
    try:
        for question in questions:
            subprocess.run(question, capture_output=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _install(folder: Path, *target: str) -> None:
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--link-mode=copy"]
    subprocess.run([UV, "pip", "install", *options, *target, "--target", folder, "-r", _REQUIREMENTS], check=True)
    shutil.copytree(ROOT / "lambda" / "layer", folder, ignore=NOT_SOURCE, dirs_exist_ok=True)


def _finish(folder: Path, python: str) -> None:
    subprocess.run([python, "-I", ROOT / "build" / "finish.py", folder], check=True)
