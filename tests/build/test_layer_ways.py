"""The ways to the layer: Docker when its engine answers, else wheels; the way taken is told."""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from build import layer
from tests.build.project import ROOT, RUNTIME, Project

runtime_is_lambdas = pytest.mark.skipif(
    (sys.implementation.cache_tag, sys.platform, platform.machine()) != ("cpython-313", "linux", "x86_64"),
    reason="the double's steps run here, so here must be what Lambda has",
)


@pytest.fixture
def docker_double(tmp_path: Path) -> dict[str, str]:
    """A PATH whose `docker` is tests/build/docker_double.py (which says what it copies), and its notes."""
    programs = tmp_path / "programs"
    programs.mkdir()
    docker = programs / "docker"
    double = Path(__file__).with_name("docker_double.py")
    docker.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(double))} "$@"\n')
    docker.chmod(0o755)
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "DOCKER_DOUBLE_NOTES": str(tmp_path / "notes"),
        "RUNTIME": str(RUNTIME),
        "PIP": str(ROOT / ".venv" / "uv" / "bin" / "python"),
    }


@pytest.mark.parametrize(("arch", "docker_platform"), [("x86_64", "linux/amd64"), ("arm64", "linux/arm64")])
def test_docker_is_asked_for_the_platform_and_the_files_alone(
    scratch: Project, docker_double: dict[str, str], arch: str, docker_platform: str
) -> None:
    (scratch.root / "build" / "Dockerfile").write_text("FROM scratch\n")  # builds nothing: the command is at stake
    made = scratch.package("layer", "--arch", arch, environment=docker_double)
    assert made.stdout == "Docker builds the layer in public.ecr.aws/lambda/python:3.13.\n"
    *_, command = map(json.loads, Path(docker_double["DOCKER_DOUBLE_NOTES"]).read_text().splitlines())
    output = command.pop(command.index("--output") + 1)
    assert command == [
        *("buildx", "build", "--platform", docker_platform),
        *("--file", str(scratch.root / "build" / "Dockerfile"), "--provenance", "false"),
        *("--output", str(scratch.root)),
    ]
    assert output.startswith("type=local,dest=")


@runtime_is_lambdas
def test_the_dockerfiles_steps_give_the_same_bytes_as_the_wheels(
    scratch: Project, packages: Project, docker_double: dict[str, str]
) -> None:
    made = scratch.package("layer", "--arch", "x86_64", "--with", "docker", environment=docker_double)
    assert made.returncode == 0, made.stderr
    by_docker, by_wheels = scratch.zip("layer-x86_64"), packages.zip("layer-x86_64")
    assert zipfile.ZipFile(by_docker).namelist() == zipfile.ZipFile(by_wheels).namelist()
    assert by_docker.read_bytes() == by_wheels.read_bytes()


def test_without_an_engine_one_line_says_that_wheels_are_taken(scratch: Project, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon.' >&2\nexit 1\n")
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    made = scratch.package("layer", "--arch", "arm64", environment=environment)
    way, *others = made.stdout.splitlines()
    assert way == "No Docker engine with buildx: the layer is built from the pinned wheels for Lambda's platform."
    assert not [line for line in others if "Docker" in line or "wheels" in line]
    assert made.stderr == ""


def test_a_build_that_docker_fails_is_no_silent_fall_back(scratch: Project, docker_double: dict[str, str]) -> None:
    (scratch.root / "build" / "Dockerfile").write_text("BREAK\n")
    made = scratch.package("layer", "--arch", "x86_64", environment=docker_double)
    assert made.returncode == 1
    assert "layer-x86_64.zip was not made: docker failed." in made.stderr
    assert not scratch.zip("layer-x86_64").exists()


def test_another_python_makes_a_layer_without_pyc_files_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = SimpleNamespace(executable=sys.executable, implementation=SimpleNamespace(cache_tag="cpython-312"))
    monkeypatch.setattr(layer, "sys", other)
    layer.make_from_wheels(tmp_path, "x86_64")
    assert "No CPython 3.13 at hand" in capsys.readouterr().out
    assert not [*tmp_path.rglob("*.pyc")]


def test_the_local_layer_imports_with_the_interpreter_at_hand(scratch: Project, tmp_path: Path) -> None:
    made = scratch.package("layer-local")
    assert made.returncode == 0, made.stderr
    shutil.unpack_archive(scratch.zip("layer-local"), tmp_path / "opt")
    environment = {"PYTHONPATH": str(tmp_path / "opt" / "python")}
    subprocess.run([RUNTIME, "-B", "-c", "import psycopg2.extras, lambda_postgres"], env=environment, check=True)


def test_the_dockerfile_has_no_lint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run([hadolint, ROOT / "build" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_image_is_taken_by_its_digest() -> None:
    images = re.findall(r"^FROM (\S+)", (ROOT / "build" / "Dockerfile").read_text(), re.MULTILINE)
    assert [re.sub(r"[0-9a-f]{64}", "…", image) for image in images] == [
        "public.ecr.aws/lambda/python:3.13@sha256:…",
        "scratch",
    ]


def test_only_the_layers_files_leave_the_image() -> None:
    stages = (ROOT / "build" / "Dockerfile").read_text().split("\nFROM ")
    assert stages[-1].split("\n", 1)[0] == "scratch"
    assert stages[-1].split("\n", 1)[1].split() == ["COPY", "--from=layer", "/opt/python/", "/python/"]


def test_the_image_is_sent_what_it_copies_and_no_more() -> None:
    ignored = (ROOT / "build" / "Dockerfile.dockerignore").read_text().split()
    copied = re.findall(r"(?:build|lambda)/[\w./]*\w(?=/? )", (ROOT / "build" / "Dockerfile").read_text())
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == {path for path in copied if "/build/" not in path}
