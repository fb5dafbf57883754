"""Zips whose bytes depend on names and contents alone: not on the machine, its clock, its umask or its zlib."""

import datetime
import stat
from collections.abc import Iterator
from pathlib import Path

import deflate
from stream_zip import ZIP_32, Method, stream_zip

_EPOCH = datetime.datetime(1980, 1, 1)  # the earliest that a zip can hold, which knows no zones
_MODE = stat.S_IFREG | 0o644
_LEVEL = 12  # the best one


class _Compressor:
    """What zlib.compressobj() returns, by libdeflate.

    zlib, zlib-ng and Apple's zlib give different bytes, and a plan would show a change of code where there is none. The
    wheel of libdeflate is pinned.
    """

    def __init__(self) -> None:
        self._content = bytearray()

    def compress(self, content: bytes) -> bytes:
        self._content += content
        return b""

    def flush(self) -> bytes:
        return bytes(deflate.deflate_compress(bytes(self._content), _LEVEL))


def write_zip(path: Path, tree: Path) -> None:
    """Write every file below `tree` to a zip."""

    def files() -> Iterator[tuple[str, datetime.datetime, int, Method, list[bytes]]]:
        for name in sorted(file.relative_to(tree).as_posix() for file in tree.rglob("*") if file.is_file()):
            yield name, _EPOCH, _MODE, ZIP_32, [(tree / name).read_bytes()]

    made = stream_zip(files(), get_compressobj=_Compressor, extended_timestamps=False)  # type: ignore[arg-type]
    with path.open("wb") as archive:
        archive.writelines(made)
