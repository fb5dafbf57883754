"""All that is to be changed before migrations run, in its order."""

from collections.abc import Iterator

from psycopg2 import extensions

from .adoption import notes
from .change import Change
from .claim import claim
from .migrator import ledger
from .roles import changes, in_public
from .settings import Settings


def preparation(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    """Yield what differs from the settings; RoleError, before anything is yielded, when something is another's.

    Each change is read off the catalog when its turn comes. Without those before it, it is the same.
    """
    yield from changes(cursor, settings)
    yield from ledger(cursor, settings)
    yield from claim(cursor, settings)


def remarks(cursor: extensions.cursor, settings: Settings) -> list[str]:
    """Tell what stays, or follows, and what a person should know."""
    found = notes(cursor, settings) if settings.adopt else []
    if standing := in_public(cursor):
        found.append(f"schema public stays open to everyone: {standing} objects that others may use stand in it")
    return found
