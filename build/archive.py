"""Zips whose bytes depend on names and contents alone: not on the machine, its clock, its umask or its zlib."""

import stat
import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
_MODE = (stat.S_IFREG | 0o644) << 16


def write_zip(path: Path, tree: Path) -> None:
    """Write every file below `tree` to a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(file.relative_to(tree).as_posix() for file in tree.rglob("*") if file.is_file()):
            # Stored: deflate's output differs between zlib, zlib-ng and Apple's, and a plan would show a change of code
            # where none is. The largest layer is 17 MB of the 50 that Lambda takes.
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3  # Unix, also when zipped elsewhere
            entry.external_attr = _MODE
            archive.writestr(entry, (tree / name).read_bytes())
