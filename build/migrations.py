"""The migrations of another application than the sample's, in a package of its own."""

import re
import shutil
import sys
from pathlib import Path

from build import checks, function, layer
from build.layer import ROOT

sys.path.append(str(ROOT / "lambda"))

from bootstrap.errors import HistoryError
from bootstrap.hook import HOOK
from bootstrap.migration_files import read_migrations

# What the bootstrap function does with a tool's folder, before it asks the database.
_LIST = """
import pathlib, sys
_, folder, *path = sys.argv[1:]
folder = pathlib.Path(folder)
sys.path[:0] = [str(folder.parents[1]), *path]
from bootstrap.errors import HistoryError
from bootstrap.hook import read_revisions
try:
    read_revisions(folder)
except HistoryError as error:
    sys.exit(str(error))
"""


def hook_of(folder: Path | None, arch: str) -> function.Function | None:
    """Return the folder of another tool as what is packaged like a function; None when it holds SQL files."""
    if folder is None or not (folder / HOOK).is_file():
        return None
    return function.Function(folder, "migrate.upgrade", arch)


def bring_hook(tree: Path, hook: function.Function, output: Path) -> None:
    """Put a tool's folder, with what it requires, in the place of the sample's files."""
    shutil.rmtree(tree / "migrations")
    (tree / "migrations").mkdir()
    function.fill(hook, tree / "migrations", output, _LIST)
    function.compile_tree(hook, tree.parent)


def application_of(folder: Path) -> str:
    """Return the name that the package gets: the folder's, or that of the folder above where it is `migrations`."""
    path = folder.resolve()
    name = path.parent.name if path.name == "migrations" else path.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise checks.PackageError(f"{folder} gives the package the name {name!r}: use letters, digits, - and _.")
    return name


def replace_migrations(tree: Path, folder: Path) -> None:
    """Put an application's files in the place of the sample's; refuse what the bootstrap function would refuse."""
    if not folder.is_dir():
        raise checks.PackageError(f"{folder} is no folder.")
    shutil.rmtree(tree / "migrations")
    shutil.copytree(folder, tree / "migrations", ignore=layer.NOT_SOURCE)
    try:
        files = read_migrations(tree / "migrations")
        for file in files:
            file.check()
    except (HistoryError, IsADirectoryError) as error:
        raise checks.PackageError(f"{folder}: {error}") from error
    if not files:
        raise checks.PackageError(f"{folder} holds no migrations, such as 0001_orders.sql, and no {HOOK}.")
