"""The migration files: their order, their statements, and whether they continue the recorded history."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from errors import HistoryError
from statements import Statement, UnfinishedError, split

_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_MARKER = re.compile(r"--\s*transaction\s*:\s*(.*?)\s*", re.IGNORECASE)
_TRANSACTION_CONTROL = re.compile(r"(BEGIN|START|COMMIT|END|ROLLBACK(?! TO)|ABORT|PREPARE TRANSACTION)\b")


@dataclass(frozen=True)
class Migration:
    name: str
    checksum: str
    in_transaction: bool
    statements: tuple[Statement, ...] = field(repr=False)


def read_migrations(folder: Path) -> list[Migration]:
    """Read every file in order; what could not be applied as a whole is refused here."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for name in names:
        if not _NAME.fullmatch(name):
            raise HistoryError(f"{name} is not named like 0001_users.sql.")
    for earlier, later in pairwise(names):
        if earlier[:4] == later[:4]:
            raise HistoryError(f"{earlier} and {later} have the same number.")
    return [_read(folder / name) for name in names]


def pending(migrations: Sequence[Migration], applied: Mapping[str, str]) -> list[Migration]:
    """Return the files still to run, given the checksums of those that did; refuse a changed history."""
    files = {migration.name: migration for migration in migrations}
    for name, checksum in applied.items():
        if name not in files:
            raise HistoryError(f"{name} was applied, and its file is missing.")
        if files[name].checksum != checksum:
            raise HistoryError(f"{name} was applied, and its file has changed since: put the change in a new file.")
    rest = [migration for migration in migrations if migration.name not in applied]
    if rest and applied and rest[0].name < max(applied):
        raise HistoryError(f"{rest[0].name} is new, but {max(applied)} was applied: give it a higher number.")
    return rest


def _read(path: Path) -> Migration:
    text = path.read_text(encoding="utf-8")  # with every line ending read as \n, so a checkout cannot change the sum
    in_transaction = _runs_in_transaction(path.name, text)
    try:
        statements = tuple(split(text))
    except UnfinishedError as error:
        raise HistoryError(f"{path.name}:{error.line}: {error}.") from error
    for statement in statements:
        if _TRANSACTION_CONTROL.match(statement.keywords):
            raise HistoryError(
                f"{path.name}:{statement.line}: a file is one transaction and must not contain {statement.keywords}."
            )
    return Migration(path.name, hashlib.sha256(text.encode()).hexdigest(), in_transaction, statements)


def _runs_in_transaction(name: str, text: str) -> bool:
    marker = _MARKER.fullmatch(text.partition("\n")[0])
    if marker and marker[1] != "none":
        raise HistoryError(f"{name}:1: the only marker is `-- transaction: none`.")
    return marker is None
