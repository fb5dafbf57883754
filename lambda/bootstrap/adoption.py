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
AND identified.identity IS NOT NULL -- by a newer catalog than the transaction's, in which it may be gone
ORDER BY 1, 2
"""
# As ALTER calls it, where the catalog calls it otherwise.
_KEYWORDS = {"statistics object": "STATISTICS"}

# What runs with its owner's rights and would not run with another's: a view or a rule that reaches beyond the schema or
# through its owner's login to another server, whatever reads such a view, a function that is told to. It stays whose it
# is.
_STAYS = """
WITH RECURSIVE schema AS (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s),
reaches AS (
    SELECT reader.oid AS reader, source.oid AS source,
        source.relnamespace NOT IN (reader.relnamespace, 'pg_catalog'::regnamespace) OR EXISTS (
            SELECT FROM pg_foreign_table JOIN pg_user_mappings ON srvid = ftserver
            WHERE ftrelid = source.oid AND umuser = reader.relowner) AS beyond
    FROM pg_class reader JOIN pg_rewrite ON ev_class = reader.oid
    JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
    JOIN pg_class source ON refclassid = 'pg_class'::regclass AND source.oid = refobjid
    WHERE reader.relnamespace = (SELECT oid FROM schema) AND pg_get_userbyid(reader.relowner) <> %(owner)s
),
stays AS (
    SELECT reader FROM reaches WHERE beyond
    UNION SELECT reaches.reader FROM reaches JOIN stays ON source = stays.reader
)
SELECT identified.type, identified.identity, pg_get_userbyid(owner)
FROM (
    SELECT 'pg_class'::regclass AS class, pg_class.oid AS id, relowner AS owner
        FROM pg_class JOIN stays ON pg_class.oid = reader
    UNION ALL SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
        WHERE prosecdef AND pronamespace = (SELECT oid FROM schema) AND pg_get_userbyid(proowner) <> %(owner)s
) object, pg_identify_object(class, id, 0) identified
WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = id AND deptype = 'e')
AND identified.identity IS NOT NULL
ORDER BY 1, 2
"""
_MAY_CREATE = """
SELECT DISTINCT coalesce(rolname, 'PUBLIC')
FROM pg_namespace, aclexplode(nspacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE nspname = %(schema)s AND privilege_type = 'CREATE' AND grantee <> nspowner
AND rolname IS DISTINCT FROM %(owner)s
ORDER BY 1
"""
_DEFAULTS = """
SELECT DISTINCT pg_get_userbyid(defaclrole) FROM pg_default_acl
WHERE defaclnamespace IN (0, (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s))
AND (defaclnamespace <> 0 OR pg_get_userbyid(defaclrole) = ANY (%(owners)s))
AND pg_get_userbyid(defaclrole) <> %(owner)s
ORDER BY 1
"""
# A sequence of a column goes where its table goes.
_RELATIONS = """
SELECT format('%%I.%%I', nspname, pg_class.relname), pg_class.relkind = 'S', pg_has_role(pg_class.relowner, 'USAGE'),
    format('%%I.%%I', nspname, coalesce(of.relname, pg_class.relname))
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
LEFT JOIN (
    pg_depend JOIN pg_class of ON of.oid = refobjid
) ON pg_class.relkind = 'S' AND classid = 'pg_class'::regclass AND objid = pg_class.oid
    AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i')
WHERE nspname = %s AND pg_class.relkind IN ('f', 'm', 'p', 'r', 'S', 'v') ORDER BY 1
"""
_RELATION_KINDS = ("foreign table", "materialized view", "sequence", "table", "view")
# A membership that an owner has itself, and by which it acts without SET ROLE. What it has by way of another role may
# come with that role's own turn here.
_ACTS_FOR = """
SELECT EXISTS (SELECT FROM pg_auth_members JOIN pg_roles held ON held.oid = roleid JOIN pg_roles holder
    ON holder.oid = member WHERE held.rolname = %s AND holder.rolname = %s
    AND coalesce((to_jsonb(pg_auth_members) ->> 'inherit_option')::boolean, true))
"""
_GRANTED_BY_ITSELF = """
SELECT EXISTS (SELECT FROM pg_auth_members JOIN pg_roles held ON held.oid = roleid JOIN pg_roles master
    ON master.oid = member AND master.oid = grantor WHERE held.rolname = %s AND master.rolname = current_user)
"""
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

    @property
    def called(self) -> str:
        """Return its name as ALTER takes it: an aggregate of rows, such as count(*), is identified as count()."""
        rows = self.kind == "aggregate" and self.identity.endswith("()")
        return self.identity.removesuffix("()") + "(*)" if rows else self.identity


def adoption(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    """Yield what makes the schema and all that stands in it the application's; nothing unless it is to be adopted."""
    if not settings.adopt:
        return
    found = foreign(cursor, settings)
    master = single(cursor, "SELECT current_user")
    ours = {master, settings.owner, settings.deployer, *(user.name for user in settings.users)}
    owners = _owners(found)
    # All is read before the first change, so that plan, which makes none, reads the same.
    granted = list(_granted(cursor, settings, found))
    joined = [owner for owner in owners if not single(cursor, "SELECT pg_has_role(%s, 'USAGE')", owner)]
    left = [_leaving(cursor, owner) for owner in joined]
    new = [owner for owner in owners if owner not in ours and not single(cursor, _ACTS_FOR, settings.owner, owner)]
    inherit = " WITH INHERIT TRUE" if _version(cursor) >= _INHERIT_IS_OF_THE_GRANT else ""
    for owner in joined:
        yield change(f"act as {owner} for the hand-over", f"GRANT {{}} TO CURRENT_USER{inherit}", owner)
    for owner in new:
        yield change(
            f"let {owner} act as {settings.owner}, as it did as owner",
            f"GRANT {{}} TO {{}}{inherit}",
            settings.owner,
            owner,
        )
    for thing in found:
        kind = _KEYWORDS.get(thing.kind, thing.kind.upper())
        statement = sql.SQL(f"ALTER {kind} {{}} OWNER TO {{}}").format(
            sql.SQL(thing.called), sql.Identifier(settings.owner)
        )
        yield Change(f"give {thing} from {thing.owner} to {settings.owner}", (statement,))
    yield from granted
    yield from left


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
    """Return the tables and the sequences that the master may grant on, those that are to be adopted among them.

    What stays somebody's is not among them: through it the grant would reach what its owner reaches elsewhere.
    """
    return _by_kind(cursor, settings, foreign(cursor, settings) if settings.adopt else [], others=True)


def notes(cursor: extensions.cursor, settings: Settings) -> list[str]:
    """Tell what an adoption leaves to whoever has it."""
    named = {"schema": settings.schema, "owner": settings.owner, "owners": _owners(foreign(cursor, settings))}
    told = [
        f"{thing} stays {thing.owner}'s, with whose rights it runs: change it and grant on it as {thing.owner}"
        for thing in _stays(cursor, settings)
    ]
    cursor.execute(_MAY_CREATE, named)
    told += [
        f"{role} may create in schema {settings.schema}: whoever does acts as {settings.owner} from the next apply on"
        for (role,) in cursor.fetchall()
    ]
    cursor.execute(_DEFAULTS, named)
    told += [
        f"default privileges of {role} are for what {role} makes: what a migration makes needs grants of its own"
        for (role,) in cursor.fetchall()
    ]
    return told


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


def _granted(cursor: extensions.cursor, settings: Settings, found: Sequence[Foreign]) -> Iterator[Change]:
    """Yield what lets users who are there reach the adopted as they reach what the owner makes; new ones come later."""
    adopted = _by_kind(cursor, settings, found, others=False)
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
    cursor: extensions.cursor, settings: Settings, found: Sequence[Foreign], *, others: bool
) -> dict[str, list[str]]:
    """Return the relations that are to be adopted; others: and those that the master may act for and that do not stay.

    They are told by what is found, not by owner: what is an extension's may have the same one.
    """
    adopted = {thing.identity for thing in found if thing.kind in _RELATION_KINDS}
    stays = {thing.identity for thing in _stays(cursor, settings) if thing.kind in _RELATION_KINDS}
    cursor.execute(_RELATIONS, [settings.schema])
    kinds: dict[str, list[str]] = {"TABLES": [], "SEQUENCES": []}
    for name, is_sequence, usable, goes_with in cursor.fetchall():
        if goes_with in adopted or (others and usable and goes_with not in stays):
            kinds["SEQUENCES" if is_sequence else "TABLES"].append(name)
    return kinds


def _leaving(cursor: extensions.cursor, owner: str) -> Change:
    """Return what ends the hand-over and leaves the master the membership that it had given itself before, if any."""
    what = f"act as {owner} no more"
    if single(cursor, _GRANTED_BY_ITSELF, owner):
        return change(what, "REVOKE INHERIT OPTION FOR {} FROM CURRENT_USER", owner)
    return change(what, "REVOKE {} FROM CURRENT_USER", owner)


def _stays(cursor: extensions.cursor, settings: Settings) -> list[Foreign]:
    cursor.execute(_STAYS, {"schema": settings.schema, "owner": settings.owner})
    return [Foreign(*row) for row in cursor.fetchall()]


def _can_be_acted_for(cursor: extensions.cursor, role: str) -> bool:
    """A superuser's and a predefined role's things stay theirs; others' need a membership, or the right to grant it.

    A member of the master's own role can be granted to it by nobody.
    """
    cursor.execute(
        "SELECT NOT rolsuper AND rolname !~ '^(pg|rds)_' AND (pg_has_role(oid, 'USAGE')"
        " OR pg_has_role(oid, 'MEMBER WITH ADMIN OPTION')"
        " OR %s AND (SELECT rolcreaterole AND NOT pg_has_role(owner.oid, master.oid, 'MEMBER')"
        " FROM pg_roles master WHERE rolname = current_user))"
        " FROM pg_roles owner WHERE rolname = %s",
        [_version(cursor) < _INHERIT_IS_OF_THE_GRANT, role],
    )
    return cursor.fetchone() == (True,)


def _owners(found: Sequence[Foreign]) -> list[str]:
    return sorted({thing.owner for thing in found})


def _version(cursor: extensions.cursor) -> int:
    return int(cursor.connection.server_version)
