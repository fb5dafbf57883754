"""Which bootstrap function an application belongs to, as the comment on its ledger says.

Two functions with one schema would turn each other's passwords over. The comment names the instance too: a database
that was restored elsewhere belongs to the function that comes first there.
"""

from collections.abc import Iterator

from psycopg2 import extensions, sql

from .change import Change
from .errors import RoleError
from .settings import Settings


def refuse_another_s(cursor: extensions.cursor, settings: Settings) -> None:
    """RoleError when another function of this instance has the schema."""
    claimed = _claimed(cursor, settings)
    function, _, host = (claimed or "").partition(" at ")
    if function and host == settings.host and function != settings.function:
        raise RoleError(
            f"Schema {settings.schema!r} is of the bootstrap function {function!r}, and this is {settings.function!r}:"
            " choose another application.schema and another application.user."
            f" If {function!r} is gone for good, hand the schema over as the master user:"
            f' COMMENT ON TABLE bootstrap."{settings.schema}" IS NULL'
        )


def claim(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    """Yield what writes down that the schema is this function's; its ledger exists then."""
    claimed = f"{settings.function} at {settings.host}"
    if _claimed(cursor, settings) != claimed:
        ledger = sql.Identifier("bootstrap", settings.schema)
        comment = sql.SQL("COMMENT ON TABLE {} IS {}").format(ledger, sql.Literal(claimed))
        yield Change(f"note that schema {settings.schema} is of {claimed}", (comment,))


def _claimed(cursor: extensions.cursor, settings: Settings) -> str | None:
    cursor.execute(
        "SELECT obj_description(pg_class.oid, 'pg_class') FROM pg_class"
        " JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = 'bootstrap' AND relname = %s",
        [settings.schema],
    )
    found: tuple[str | None] | None = cursor.fetchone()
    return found[0] if found else None
