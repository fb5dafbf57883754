"""Migrations of another tool, such as Alembic or Django: a folder whose migrate.py lists its revisions and applies one.

    def revisions() -> Iterable[str]: ...  # every one, in the order in which they are applied; without a database
    def upgrade(connection, revision: str) -> None: ...  # apply this one, unless the tool's own table has it

What they import is the tool's, and is imported only where a folder has a migrate.py.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
from psycopg2 import errors, extensions

from .errors import HistoryError, MigrationError

HOOK = "migrate.py"

_NO_SAVEPOINT = (errors.InvalidSavepointSpecification, errors.NoActiveSqlTransaction)


class Lent(extensions.connection):
    """A session that another may use, and whose one transaction only its owner can end.

    While it is lent, a commit sets a savepoint and a rollback leads back to the last one. So whatever a tool takes for
    its own transactions, they are kept together with the record of the revision, or not at all.
    """

    lent = False

    def commit(self) -> None:
        if self.lent:
            self._execute("RELEASE SAVEPOINT lent; SAVEPOINT lent")
        else:
            super().commit()

    def rollback(self) -> None:
        if self.lent:
            self._execute("ROLLBACK TO SAVEPOINT lent")
        else:
            super().rollback()

    @property
    def autocommit(self) -> bool:
        return bool(super().autocommit)

    @autocommit.setter
    def autocommit(self, on: bool) -> None:
        if self.lent and on:
            raise _outside()
        if not self.lent:
            extensions.connection.autocommit.__set__(self, on)  # type: ignore[attr-defined]

    def set_isolation_level(self, level: int | None) -> None:
        if self.lent:
            raise _outside()
        super().set_isolation_level(level)

    def set_session(self, *arguments: Any, **named: Any) -> None:
        if self.lent:
            raise _outside()
        super().set_session(*arguments, **named)

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Let another use the session in the transaction that is open."""
        self._execute("SAVEPOINT lent")
        self.lent = True
        try:
            yield
        finally:
            self.lent = False
        # Fails where a statement of the tool's ended the transaction, such as COMMIT, and with it the savepoint.
        self._execute("RELEASE SAVEPOINT lent")

    def _execute(self, statement: str) -> None:
        with self.cursor() as cursor:
            cursor.execute(statement)


@dataclass(frozen=True)
class Revision:
    """One revision of a tool, which is applied as one migration file is."""

    name: str
    upgrade: Callable[[extensions.connection, str], None]
    checksum: str = "by migrate.py"  # which has no file to compare
    in_transaction: bool = True

    def check(self) -> None:
        """Refuse nothing: what a revision does shows when it runs."""

    def run(self, session: Lent) -> None:
        """Let the tool apply the revision in the transaction that is open; MigrationError names it."""
        try:
            with session.lending():
                self.upgrade(session, self.name)
        except (Exception, SystemExit) as error:
            ended = isinstance(_of_the_server(error), _NO_SAVEPOINT)
            why = (
                "a statement ended its transaction, so part of it may be kept: take COMMIT and ROLLBACK out of it"
                if ended
                else _explain(error)
            )
            raise MigrationError(f"{self.name}: {why}") from error


def read_revisions(folder: Path) -> list[Revision]:
    """Ask the folder's migrate.py for its revisions; HistoryError when it has none, or two of one name."""
    hook = _load(folder)
    try:
        names = [str(name) for name in hook.revisions()]
    except (Exception, SystemExit) as error:
        raise HistoryError(f"migrate.py cannot list its revisions: {_explain(error)}") from error
    if not names:
        raise HistoryError("migrate.py lists no revisions.")
    if twice := {name for name in names if names.count(name) > 1}:
        raise HistoryError(f"migrate.py lists {min(twice)} twice.")
    return [Revision(name, hook.upgrade) for name in names]


@cache
def _load(folder: Path) -> ModuleType:
    """Import a folder's hook, once for each execution environment; what is beside it can be imported too."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # behind the layer: its psycopg2 is the one that counts
    specification = importlib.util.spec_from_file_location("migrate", folder / HOOK)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise HistoryError(f"migrate.py cannot be imported: {_explain(error)}") from error
    for name in ("revisions", "upgrade"):
        if not callable(getattr(module, name, None)):
            raise HistoryError(f"migrate.py has no function {name}.")
    return module


def _outside() -> psycopg2.ProgrammingError:
    return psycopg2.ProgrammingError("a revision is one transaction, and cannot run outside it or change how it runs")


def _explain(error: BaseException) -> str:
    """Say what went wrong in one line, as the server did where it was the server; never with a statement's values."""
    cause = _of_the_server(error)
    text = (cause.diag.message_primary or str(cause)) if cause else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def _of_the_server(error: BaseException) -> psycopg2.Error | None:
    """Return the driver's error, which a tool wraps in its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, psycopg2.Error):
        cause = cause.__cause__
    return cause
