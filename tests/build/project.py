"""A copy of the project to make zips in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / ".venv" / "runtime" / "bin" / "python"


@dataclass(frozen=True)
class Project:
    """A copy whose files may be broken and whose zips are its own."""

    root: Path

    @classmethod
    def copy(cls, root: Path, source: Path = ROOT) -> "Project":
        for folder in ("build", "lambda"):
            shutil.copytree(source / folder, root / folder, ignore=shutil.ignore_patterns("output", "__pycache__"))
        (root / ".venv").symlink_to(ROOT / ".venv")
        return cls(root)

    def package(
        self, *arguments: str, environment: Mapping[str, str] = MappingProxyType({}), umask: int = 0o022
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "build.package", *arguments],
            cwd=self.root,
            env={**os.environ, **environment},
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )

    def make_all(self, *, environment: Mapping[str, str] = MappingProxyType({}), umask: int = 0o022) -> None:
        for package in (
            "layer --arch x86_64 --with wheels",
            "layer --arch arm64 --with wheels",
            "function",
            "bootstrap",
            "frameworks",
        ):
            made = self.package(*package.split(), environment=environment, umask=umask)
            assert made.returncode == 0, made.stderr

    def zip(self, name: str) -> Path:
        return self.root / "build" / "output" / f"{name}.zip"

    def zips(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "build" / "output").iterdir()}
