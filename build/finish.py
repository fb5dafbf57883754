"""Finish a layer's `python` folder, once pip or uv has filled it, with the Python that will run it.

Run as a script in the Lambda image and outside it alike, hence standard library only.
"""

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

# How this machine installed, not what is installed. RECORD goes with them: it lists them.
_INSTALLER_FILES = {".lock", "INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}


def remove_leftovers(tree: Path) -> None:
    for path in [*tree.rglob("*")]:
        if path.name == "__pycache__":
            shutil.rmtree(path)
        elif path.name in _INSTALLER_FILES:
            path.unlink()


def compile_modules(tree: Path) -> None:
    """Compile every module for its place in Lambda, never to be checked against its source again."""
    # A zip has no times fit to compare, and /opt can not be written: without these each cold start compiles anew.
    compiled = compileall.compile_dir(
        tree,
        quiet=1,
        stripdir=str(tree),
        prependdir="/opt/python",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        sys.exit("A module of the layer does not compile.")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    remove_leftovers(folder)
    compile_modules(folder)
