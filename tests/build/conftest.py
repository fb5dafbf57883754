"""The zips, made once for all tests."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from tests.build.project import Project


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project in which every zip was made: by one worker for all, so no test writes there."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "packages"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "made").exists():
            return Project(folder / "project")
        project = Project.copy(folder / "project")
        project.make_all()
        (folder / "made").touch()
    return project


@pytest.fixture
def scratch(packages: Project, tmp_path: Path) -> Project:
    """A copy of the same sources for one test."""
    return Project.copy(tmp_path / "scratch", packages.root)


@pytest.fixture(scope="session")
def layers(packages: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the layers, in one folder for each architecture."""
    folder = tmp_path_factory.mktemp("layers")
    for arch in ("x86_64", "arm64"):
        shutil.unpack_archive(packages.zip(f"layer-{arch}"), folder / arch)
    return folder


@pytest.fixture(params=["x86_64", "arm64"])
def layer(request: pytest.FixtureRequest, layers: Path) -> Path:
    """The files of one architecture's layer."""
    return layers / str(request.param)
