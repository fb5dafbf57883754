"""What is refused before it can fail in Lambda."""

import re
import zipfile
from pathlib import Path

import pytest

from build import checks
from tests.build.project import Project

X86_64, ARM64 = 62, 183


def elf(machine: int, *symbols: str) -> bytes:
    return b"\x7fELF".ljust(18, b"\0") + machine.to_bytes(2, "little") + "\0".join(symbols).encode()


def layer(folder: Path, **shared_objects: bytes) -> Path:
    path = folder / "layer.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in shared_objects.items():
            archive.writestr(f"python/{name}.so.1", content)
    return path


def test_the_layers_pass(packages: Project) -> None:
    for arch in ("x86_64", "arm64"):
        checks.check_size(packages.zip(f"layer-{arch}"))
        checks.check_shared_objects(packages.zip(f"layer-{arch}"), arch)


def test_the_other_architecture_is_refused(packages: Project) -> None:
    with pytest.raises(checks.PackageError, match="not compiled for arm64"):
        checks.check_shared_objects(packages.zip("layer-x86_64"), "arm64")


def test_one_foreign_shared_object_among_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(checks.PackageError, match=re.escape("python/b.so.1 is not compiled for arm64")):
        checks.check_shared_objects(layer(tmp_path, a=elf(ARM64), b=elf(X86_64)), "arm64")


def test_the_runtimes_own_glibc_passes_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    checks.check_shared_objects(layer(tmp_path, a=elf(X86_64, "GLIBC_2.9", "GLIBC_2.34")), "x86_64")
    with pytest.raises(checks.PackageError, match=re.escape("needs glibc 2.38; Lambda's runtime has 2.34")):
        checks.check_shared_objects(layer(tmp_path, a=elf(X86_64, "GLIBC_2.9", "GLIBC_2.38")), "x86_64")


def test_a_layer_without_psycopg2_is_refused(tmp_path: Path) -> None:
    with pytest.raises(checks.PackageError, match="psycopg2 is missing"):
        checks.check_shared_objects(layer(tmp_path), "x86_64")


def test_more_than_lambda_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(checks.PackageError, match="bytes zipped; Lambda takes 52,428,800"):
        checks.check_size(layer(tmp_path, a=bytes(50 * 1024 * 1024)))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("zeros", bytes(250 * 1024 * 1024 + 1))
    with pytest.raises(checks.PackageError, match="bytes unzipped; Lambda takes 262,144,000"):
        checks.check_size(tmp_path / "bomb.zip")
