"""What a zip must be to run in Lambda: small enough, and compiled for that architecture and that C library."""

import re
import zipfile
from pathlib import Path

_MIB = 1024 * 1024
_MAX_ZIP = 50 * _MIB  # when uploaded as the API takes it, without S3
_MAX_UNZIPPED = 250 * _MIB

_ELF_MACHINES = {"x86_64": 62, "arm64": 183}  # EM_X86_64, EM_AARCH64
_RUNTIME_GLIBC = (2, 34)  # Amazon Linux 2023
_GLIBC_SYMBOL = re.compile(rb"GLIBC_(\d+)\.(\d+)")


class PackageError(Exception):
    """The zip would fail in Lambda."""


def check_size(package: Path, layer: Path | None = None) -> None:
    """Refuse a zip that is too large for Lambda; unzipped, its layer counts too."""
    unzipped = sum(map(_unzipped, (package, layer) if layer else (package,)))
    together = "unzipped with its layer" if layer else "unzipped"
    for size, limit, what in ((package.stat().st_size, _MAX_ZIP, "zipped"), (unzipped, _MAX_UNZIPPED, together)):
        if size > limit:
            raise PackageError(f"{package.name} has {size:,} bytes {what}; Lambda takes {limit:,}.")


def check_shared_objects(package: Path, arch: str, *, needed: bool = True) -> None:
    """Refuse a zip whose compiled files do not run on `arch` in Lambda's runtime, or are missing where needed."""
    with zipfile.ZipFile(package) as archive:
        shared_objects = {name: archive.read(name) for name in archive.namelist() if ".so" in Path(name).suffixes}
    if needed and not shared_objects:
        raise PackageError(f"{package.name} holds no shared object: psycopg2 is missing.")
    for name, content in shared_objects.items():
        # Bytes 18 and 19 of an ELF header are the machine, little-endian on both of Lambda's.
        if content[:4] != b"\x7fELF" or int.from_bytes(content[18:20], "little") != _ELF_MACHINES[arch]:
            raise PackageError(f"{name} is not compiled for {arch}.")
        newest = max(((int(major), int(minor)) for major, minor in _GLIBC_SYMBOL.findall(content)), default=(0, 0))
        if newest > _RUNTIME_GLIBC:
            wanted, present = (".".join(map(str, version)) for version in (newest, _RUNTIME_GLIBC))
            raise PackageError(f"{name} needs glibc {wanted}; Lambda's runtime has {present}.")


def _unzipped(package: Path) -> int:
    with zipfile.ZipFile(package) as archive:
        return sum(entry.file_size for entry in archive.infolist())
