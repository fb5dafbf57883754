"""Layers as this machine's Python takes them: one whose native library does not run here has a stand-in."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path

from local.lambda_runtime.function import Archive

_LOCAL_LAYER = "build/output/layer-local.zip"


class Layers:
    """The layers of functions that `python` runs; `root` is the project's folder, where make builds the other layer."""

    def __init__(self, python: Path, root: Path) -> None:
        self._python = python
        self._root = root

    def suited(self, layers: Sequence[Archive]) -> tuple[Archive, ...]:
        """Return the layers with those replaced that do not run here."""
        return tuple(layer if self._runs_here(layer) else self._local_layer for layer in layers)

    def note(self) -> str:
        """Say what stands in, if anything does."""
        native = self._extension_suffix == ".cpython-313-x86_64-linux-gnu.so"
        return "" if native else f": the layer of Lambda does not run on it, {_LOCAL_LAYER} stands in"

    def _runs_here(self, layer: Archive) -> bool:
        extensions = [name for name in names_in(layer) if "psycopg2/" in name and name.endswith(".so")]
        return not extensions or any(name.endswith(self._extension_suffix) for name in extensions)

    @cached_property
    def _extension_suffix(self) -> str:
        """What the runtime's Python looks for: .cpython-313-x86_64-linux-gnu.so."""
        command = [str(self._python), "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @cached_property
    def _local_layer(self) -> Archive:
        subprocess.run(["make", _LOCAL_LAYER], cwd=self._root, check=True)
        return Archive.of((self._root / _LOCAL_LAYER).read_bytes())


def names_in(archive: Archive) -> list[str]:
    with zipfile.ZipFile(BytesIO(archive.content)) as content:
        return content.namelist()
