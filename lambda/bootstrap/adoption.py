"""A schema that somebody else made: how it becomes the application's, with all that stands in it.

Owners change and rows do not. Who owned something becomes a member of the schema's owner, so that what logs in as
them goes on as before. What belongs to an extension stays as it is, and so does what needs its owner's rights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg2 import extensions, sql

from .change import Change, change, single
from .errors import RoleError
from .settings import NO_PRIVILEGES, PRIVILEGES, Settings

# Whatever has an owner of its own. What a table brings along follows the table: its row type, the sequences of its
# columns; what a type makes, such as the constructors of a range, is the server's.
_OBJECTS = """
SELECT identified.type, identified.identity, pg_get_userbyid(owner)
FROM (
    SELECT 'pg_class'::regclass AS class, oid AS id, relowner AS owner, relnamespace AS namespace FROM pg_class
        WHERE relkind IN ('f', 'm', 'p', 'r', 'v') OR relkind = 'S' AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
            AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i'))
    UNION ALL SELECT 'pg_type'::regclass, oid, typowner, typnamespace FROM pg_type
        WHERE typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_type item WHERE item.typarray = pg_type.oid)
        AND (typrelid = 0 OR (SELECT relkind FROM pg_class WHERE oid = typrelid) = 'c')
    UNION ALL SELECT 'pg_proc'::regclass, oid, proowner, pronamespace FROM pg_proc
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner, oprnamespace FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner, opcnamespace FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner, opfnamespace FROM pg_opfamily
    UNION ALL SELECT 'pg_collation'::regclass, oid, collowner, collnamespace FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner, connamespace FROM pg_conversion
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner, cfgnamespace FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner, dictnamespace FROM pg_ts_dict
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxowner, stxnamespace FROM pg_statistic_ext
) object, pg_identify_object(class, id, 0) identified
WHERE namespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = id AND objsubid = 0 AND deptype IN ('e', 'i'))
AND pg_get_userbyid(owner) <> %(owner)s
ORDER BY 1, 2
"""
# As ALTER calls it, where the catalog calls it otherwise.
_KEYWORDS = {"statistics object": "STATISTICS"}

# What runs with its owner's rights and would not run with another's: a view that reads beyond the schema, a function
# that is told to. It stays whose it is.
_STAYS = """
SELECT identified.type, identified.identity, pg_get_userbyid(owner)
FROM (
    SELECT 'pg_class'::regclass AS class, viewed.oid AS id, viewed.relowner AS owner FROM pg_class viewed
        WHERE relkind IN ('m', 'v') AND relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND EXISTS (
            SELECT FROM pg_rewrite JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
            JOIN pg_class source ON refclassid = 'pg_class'::regclass AND source.oid = refobjid
            WHERE ev_class = viewed.oid
            AND source.relnamespace NOT IN (viewed.relnamespace, 'pg_catalog'::regnamespace))
    UNION ALL SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
        WHERE prosecdef AND pronamespace = to_regnamespace(quote_ident(%(schema)s))
) object, pg_identify_object(class, id, 0) identified
WHERE pg_get_userbyid(owner) <> %(owner)s
AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = id AND deptype = 'e')
ORDER BY 1, 2
"""
_RELATIONS = """
SELECT format('%%I.%%I', nspname, relname), relkind = 'S', pg_has_role(relowner, 'USAGE'), pg_get_userbyid(relowner)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relkind IN ('f', 'm', 'p', 'r', 'S', 'v') ORDER BY 1
"""
_ACTS_FOR = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s AND pg_has_role(%s, oid, 'USAGE'))"
_NAMED_IN_A_REFUSAL = 5
_INHERIT_IS_OF_THE_GRANT = 160000  # the version from which on it is not of the role


@dataclass(frozen=True)
class Foreign:
    """An object of the schema that is not its owner's."""

    kind: str
    identity: str
    owner: str

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


def adoption(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    """Yield what makes the schema and all that stands in it the application's; nothing unless it is to be adopted."""
    if not settings.adopt:
        return
    found = foreign(cursor, settings)
    master = single(cursor, "SELECT current_user")
    ours = {master, settings.owner, settings.deployer, *(user.name for user in settings.users)}
    granted = list(_granted(cursor, settings, _owners(found)))  # while the owners are still known
    # For as long as the hand-over lasts.
    joined = [owner for owner in _owners(found) if not single(cursor, "SELECT pg_has_role(%s, 'USAGE')", owner)]
    for owner in joined:
        yield change(f"act as {owner} for the hand-over", "GRANT {} TO CURRENT_USER", owner)
    for owner in _owners(found):
        if owner not in ours and not single(cursor, _ACTS_FOR, settings.owner, owner):
            inherit = " WITH INHERIT TRUE" if _version(cursor) >= _INHERIT_IS_OF_THE_GRANT else ""
            yield change(
                f"let {owner} act as {settings.owner}, as it did as owner",
                f"GRANT {{}} TO {{}}{inherit}",
                settings.owner,
                owner,
            )
    for thing in found:
        kind = _KEYWORDS.get(thing.kind, thing.kind.upper())
        statement = sql.SQL(f"ALTER {kind} {{}} OWNER TO {{}}").format(
            sql.SQL(thing.identity), sql.Identifier(settings.owner)
        )
        yield Change(f"give {thing} from {thing.owner} to {settings.owner}", (statement,))
    yield from granted
    for owner in joined:
        yield change(f"act as {owner} no more", "REVOKE {} FROM CURRENT_USER", owner)


def foreign(cursor: extensions.cursor, settings: Settings) -> list[Foreign]:
    """Return what somebody else owns: the schema first, then what stands in it."""
    named = {"schema": settings.schema, "owner": settings.owner}
    cursor.execute(
        "SELECT 'schema', quote_ident(nspname), pg_get_userbyid(nspowner) FROM pg_namespace"
        " WHERE nspname = %(schema)s AND pg_get_userbyid(nspowner) <> %(owner)s",
        named,
    )
    rows = cursor.fetchall()
    cursor.execute(_OBJECTS, named)
    stays = _stays(cursor, settings) if (found := [Foreign(*row) for row in (*rows, *cursor.fetchall())]) else []
    return [thing for thing in found if thing not in stays]


def relations(cursor: extensions.cursor, settings: Settings) -> dict[str, list[str]]:
    """Return the tables and the sequences that the master may grant on, those that are to be adopted among them."""
    owners = _owners(foreign(cursor, settings)) if settings.adopt else []
    return _by_kind(cursor, settings, owners, others=True)


def notes(cursor: extensions.cursor, settings: Settings) -> list[str]:
    """Tell what an adoption leaves to whoever has it."""
    return [
        f"{thing} stays {thing.owner}'s, with whose rights it runs: change it and grant on it as {thing.owner}"
        for thing in _stays(cursor, settings)
    ]


def refuse_what_cannot_be_adopted(cursor: extensions.cursor, settings: Settings) -> None:
    """RoleError when something belongs to a role that the master cannot act for."""
    found = foreign(cursor, settings)
    refused = {owner for owner in _owners(found) if not _can_be_acted_for(cursor, owner)}
    things = [f"{thing} of {thing.owner!r}" for thing in found if thing.owner in refused]
    if things:
        more = f" and {len(things) - _NAMED_IN_A_REFUSAL} more" if len(things) > _NAMED_IN_A_REFUSAL else ""
        raise RoleError(
            f"Schema {settings.schema!r} cannot be adopted: the master user cannot act for whoever owns"
            f" {', '.join(things[:_NAMED_IN_A_REFUSAL])}{more}. Let a role that it can act for own them, or move them"
            " to another schema."
        )
    if _version(cursor) < _INHERIT_IS_OF_THE_GRANT:
        for owner in _owners(found):
            if not single(cursor, "SELECT rolinherit FROM pg_roles WHERE rolname = %s", owner):
                raise RoleError(
                    f"Schema {settings.schema!r} cannot be adopted: {owner!r} is NOINHERIT, and would lose what it"
                    f' owns. First: ALTER ROLE "{owner}" INHERIT'
                )


def _granted(cursor: extensions.cursor, settings: Settings, owners: Sequence[str]) -> Iterator[Change]:
    """Yield what lets users who are there reach the adopted as they reach what the owner makes; new ones come later."""
    adopted = _by_kind(cursor, settings, owners, others=False)
    for user in settings.users:
        if not single(cursor, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", user.name):
            continue
        tables, sequences = PRIVILEGES.get(user.access, NO_PRIVILEGES)
        statements = tuple(
            sql.SQL(f"GRANT {', '.join(sorted(privileges))} ON {kind.removesuffix('S')} {{}} TO {{}}").format(
                sql.SQL(", ".join(adopted[kind])), sql.Identifier(user.name)
            )
            for kind, privileges in (("TABLES", tables), ("SEQUENCES", sequences))
            if privileges and adopted[kind]
        )
        if statements:
            yield Change(f"let {user.name} {user.access} in what is adopted", statements)


def _by_kind(
    cursor: extensions.cursor, settings: Settings, owners: Sequence[str], *, others: bool
) -> dict[str, list[str]]:
    """Return the relations of these owners that do not stay theirs; others: and those that the master may act for."""
    stays = [thing.identity for thing in _stays(cursor, settings)] if owners else []
    cursor.execute(_RELATIONS, [settings.schema])
    kinds: dict[str, list[str]] = {"TABLES": [], "SEQUENCES": []}
    for name, is_sequence, usable, owner in cursor.fetchall():
        if (owner in owners and name not in stays) or (others and usable):
            kinds["SEQUENCES" if is_sequence else "TABLES"].append(name)
    return kinds


def _stays(cursor: extensions.cursor, settings: Settings) -> list[Foreign]:
    cursor.execute(_STAYS, {"schema": settings.schema, "owner": settings.owner})
    return [Foreign(*row) for row in cursor.fetchall()]


def _can_be_acted_for(cursor: extensions.cursor, role: str) -> bool:
    """A superuser's and a predefined role's things stay theirs; others' need a membership, or the right to grant it."""
    cursor.execute(
        "SELECT NOT rolsuper AND rolname !~ '^(pg|rds)_' AND (pg_has_role(oid, 'USAGE')"
        " OR pg_has_role(oid, 'MEMBER WITH ADMIN OPTION')"
        " OR (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user) AND %s)"
        " FROM pg_roles WHERE rolname = %s",
        [_version(cursor) < _INHERIT_IS_OF_THE_GRANT, role],
    )
    return cursor.fetchone() == (True,)


def _owners(found: Sequence[Foreign]) -> list[str]:
    return sorted({thing.owner for thing in found})


def _version(cursor: extensions.cursor) -> int:
    return int(cursor.connection.server_version)
