"""The zips, made once for all tests."""

import shutil
from pathlib import Path

import pytest

from tests.build.project import Project


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project in which every zip was made."""
    project = Project.copy(tmp_path_factory.mktemp("packages") / "project")
    project.make_all()
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
