"""The database backend: Django's own for PostgreSQL, whose connections are loans."""

from __future__ import annotations

import sys
from typing import Any

import lambda_postgres
import psycopg2
from psycopg2.extras import register_default_jsonb

from ..errors import ConnectionLost
from ..framework import Borrowed

# Django takes psycopg 3 where it finds it; the keeper's connection is psycopg2's.
_psycopg = sys.modules.get("psycopg")
sys.modules["psycopg"] = None  # type: ignore[assignment]
try:
    from django.db.backends.postgresql import base, psycopg_any
finally:
    del sys.modules["psycopg"]
    if _psycopg is not None:
        sys.modules["psycopg"] = _psycopg

from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.db.backends.utils import debug_transaction  # noqa: E402
from django.db.utils import DatabaseErrorWrapper  # noqa: E402
from django.utils.functional import cached_property  # noqa: E402


class _Explaining(DatabaseErrorWrapper):
    """Raise the library's error for a connection that is lost or a pool that is full, instead of Django's."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        loan = self.wrapper.loan
        if isinstance(error, psycopg2.Error) and loan is not None:
            explained = loan.explain(error)
            if explained is not None:
                self.wrapper.errors_occurred = isinstance(explained, ConnectionLost)
                raise explained from error
        super().__exit__(kind, error, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL by the keeper: connecting takes a loan, closing gives it back."""

    loan: Borrowed | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True  # they pin

    @property
    def keeper(self) -> lambda_postgres.Keeper:
        """Return OPTIONS["keeper"], or that of `lambda_postgres`."""
        keeper: lambda_postgres.Keeper = self.settings_dict["OPTIONS"].get("keeper") or lambda_postgres._keeper()
        return keeper

    @cached_property  # type: ignore[untyped-decorator,unused-ignore]
    def wrap_database_errors(self) -> _Explaining:
        return _Explaining(self)

    def check_settings(self) -> None:
        super().check_settings()
        if self.settings_dict["CONN_MAX_AGE"] != 0:
            raise ImproperlyConfigured("CONN_MAX_AGE must be 0: the library keeps the connection between invocations")
        if psycopg_any.is_psycopg3:
            raise ImproperlyConfigured("lambda_postgres.django must be imported before Django's backend for PostgreSQL")

    def get_connection_params(self) -> dict[str, Any]:
        return {}  # the keeper's settings are the environment variables

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:  # noqa: ARG002  Django's name
        level = self.settings_dict["OPTIONS"].get("isolation_level", psycopg_any.IsolationLevel.READ_COMMITTED)
        self.isolation_level = psycopg_any.IsolationLevel(level)
        self.loan = Borrowed(self.keeper)
        register_default_jsonb(conn_or_curs=self.loan.conn, loads=lambda text: text)  # a JSONField decodes itself
        return self.loan.conn

    def ensure_connection(self) -> None:
        """Replace a connection that was lost since it was lent."""
        if self.connection is not None and self.connection.closed and not self.in_atomic_block:
            self.close()
        super().ensure_connection()

    def _set_autocommit(self, autocommit: bool) -> None:
        assert self.loan is not None
        if autocommit:
            self.loan.end()
        else:
            level = self.isolation_level.name.replace("_", " ")
            self.loan.begin(isolation=None if level == "READ COMMITTED" else level)

    def _commit(self) -> None:
        if self.connection is not None and self.loan is not None:
            with debug_transaction(self, "COMMIT"), self.wrap_database_errors:
                self.loan.commit()

    def _rollback(self) -> None:
        if self.connection is not None and self.loan is not None:
            with debug_transaction(self, "ROLLBACK"):
                self.loan.roll_back()

    def _close(self) -> None:
        loan, self.loan = self.loan, None
        if loan is not None:
            loan.give_back()
