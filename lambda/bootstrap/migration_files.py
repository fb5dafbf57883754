"""The migration files: their order, their statements, and whether they continue the recorded history.

A file that was applied costs a checksum; only those that are still to run are read as SQL.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from .errors import HistoryError
from .hook import HOOK, Revision, read_revisions
from .indexes import concurrent_index
from .statements import Statement, UnreadableError, split

_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_MARKER = re.compile(r"--\s*transaction\s*:\s*(.*?)\s*", re.IGNORECASE)
_TRANSACTION_CONTROL = re.compile(r"(BEGIN|START|COMMIT|END|ROLLBACK(?! TO)|ABORT|PREPARE TRANSACTION)\b")


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Migration:
    """One file; HistoryError from `in_transaction` and `statements` when it could not be applied as a whole."""

    name: str
    checksum: str
    content: bytes = field(repr=False)

    @cached_property
    def in_transaction(self) -> bool:
        marker = _MARKER.fullmatch(self._text.partition("\n")[0])
        if marker and marker[1] != "none":
            raise HistoryError(f"{self.name}:1: the only marker is `-- transaction: none`.")
        return marker is None

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        try:
            statements = tuple(split(self._text))
        except UnreadableError as error:
            raise HistoryError(f"{self.name}:{error.line}: {error}.") from error
        for statement in statements:
            if _TRANSACTION_CONTROL.match(statement.keywords):
                raise HistoryError(
                    f"{self.name}:{statement.line}: a file is one transaction"
                    f" and must not contain {statement.keywords}."
                )
            index = concurrent_index(statement.text)
            if index and not index.name:
                raise HistoryError(
                    f"{self.name}:{statement.line}: CREATE INDEX CONCURRENTLY must name its index:"
                    " a run that is cut short leaves one that the next run has to find."
                )
        return statements

    def check(self) -> None:
        """Refuse a file that could not be applied as a whole."""
        self.in_transaction  # noqa: B018 (read for what it raises)
        self.statements  # noqa: B018

    @cached_property
    def _text(self) -> str:
        content = self.content
        if content.startswith(_BYTE_ORDER_MARK):
            raise self._unfit(0, "begins with a byte order mark: save it as UTF-8 without one")
        if b"\r" in content:
            raise self._unfit(
                content.index(b"\r"), "has CRLF line ends: save it with LF (.gitattributes: *.sql eol=lf)"
            )
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise self._unfit(error.start, "is not UTF-8: save it as UTF-8") from error

    def _unfit(self, position: int, why: str) -> HistoryError:
        line = self.content.count(b"\n", 0, position) + 1
        return HistoryError(f"{self.name}:{line}: the file {why}.")


def read_migrations(folder: Path) -> Sequence[Migration | Revision]:
    """Read every file in order; refuse names that give none. A folder with a migrate.py has a tool's revisions."""
    if (folder / HOOK).exists():
        return read_revisions(folder)
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for name in names:
        if not _NAME.fullmatch(name):
            raise HistoryError(f"{name} is not named like 0001_users.sql.")
    for earlier, later in pairwise(names):
        if earlier[:4] == later[:4]:
            raise HistoryError(f"{earlier} and {later} have the same number.")
    return [_read(folder / name) for name in names]


def pending(migrations: Sequence[Migration | Revision], applied: Mapping[str, str]) -> Sequence[Migration | Revision]:
    """Return what is still to run, given the checksums of the files that did; refuse a changed history of files.

    A tool keeps a history of its own: it merges branches and squashes revisions, which changes what stands where.
    """
    if any(isinstance(migration, Revision) for migration in migrations):
        return [migration for migration in migrations if migration.name not in applied]
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
    content = path.read_bytes()
    return Migration(path.name, hashlib.sha256(content).hexdigest(), content)
