"""Finish a layer's `python` folder, or a function's, once pip or uv has filled it, with the Python that will run it.

Run as a script in the Lambda image and outside it alike, hence standard library only.
"""

import compileall
import py_compile
import re
import shutil
import sys
from pathlib import Path

# How this machine installed, not what is installed. RECORD goes with them: it lists them.
_INSTALLER_FILES = {".lock", "INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}

# Rarely imported: 15 KB of .pyc files for nothing. Whoever does import them compiles them at each cold start.
_NOT_COMPILED = re.compile(r"/(psycopg2/(errorcodes|pool|tz)|lambda_postgres/guard)\.py$")


def remove_leftovers(tree: Path) -> None:
    for path in [*tree.rglob("*")]:
        if path.name == "__pycache__":
            shutil.rmtree(path)
        elif path.name in _INSTALLER_FILES:
            path.unlink()


def compile_modules(tree: Path, place: str, *, quiet: int = 1, leave: re.Pattern[str] | None = None) -> bool:
    """Compile every module for its place in Lambda, never to be checked against its source again; tell of success."""
    # A zip has no times fit to compare, and no place in Lambda can be written: without these each cold start compiles.
    return compileall.compile_dir(
        tree,
        quiet=quiet,
        stripdir=str(tree),
        prependdir=place,
        rx=leave,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if "--function" in sys.argv:
        # A function brings packages of others, in which some templates of code do not compile.
        compile_modules(folder, "/var/task", quiet=2)
    else:
        remove_leftovers(folder)
        if not compile_modules(folder, "/opt/python", leave=_NOT_COMPILED):
            sys.exit("A module of the layer does not compile.")
