"""What the roles and the schema must look like, and the changes that lead there from what they are.

The schema and all in it belong to a role that nobody logs in as. Login roles get privileges on it by default
privileges, so that a new table is reachable at once; a table on which a migration revoked something stays so.
"""

from collections.abc import Iterator

from psycopg2 import extensions, sql

from .adoption import adoption, refuse_what_cannot_be_adopted, relations
from .change import Change, change, first, single
from .errors import RoleError, SchemaTakenError
from .settings import NO_PRIVILEGES, PRIVILEGES, UNLIMITED, Settings, User

_ATTRIBUTES = "rolcanlogin, rolinherit, rolcreatedb, rolcreaterole, rolsuper"
_LOGIN_ONLY = (True, False, False, False, False)
# What a role is for, as its comment begins.
_KINDS = {"write": "application", "application": "application by IAM", "read": "user", "migrate": "user"}
# Parameters that PostgreSQL stores as a list of quoted names.
_QUOTED_LISTS = ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries")


def changes(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    """Yield what differs from the settings. Each change is read off the catalog when its turn comes.

    RoleError, before anything is yielded, when a role or the schema is not this application's.
    """
    _refuse_what_is_not_ours(cursor, settings)
    yield from _owner(cursor, settings)
    yield from _schema(cursor, settings)
    yield from adoption(cursor, settings)
    for user in settings.users:
        yield from _login(cursor, settings, user)
        yield from _memberships(cursor, settings, user)
        yield from _privileges(cursor, settings, user)
        yield from _role_settings(cursor, settings, user)
    yield from _removed(cursor, settings)


def _owner(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    if not single(cursor, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", settings.owner):
        yield change(f"make role {settings.owner}", "CREATE ROLE {} NOLOGIN", settings.owner)
        membership = False
    else:
        membership = single(cursor, "SELECT pg_has_role(current_user, %s, 'USAGE')", settings.owner)
    if not membership:
        # Since PostgreSQL 16 a role's maker may grant it, to itself too, but does not act for it.
        yield change(f"join {settings.owner}", "GRANT {} TO CURRENT_USER", settings.owner)
    yield from _marked(cursor, settings, settings.owner, "owner")
    if not single(cursor, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", settings.deployer):
        yield change(f"make role {settings.deployer}", "CREATE ROLE {} NOLOGIN NOINHERIT", settings.deployer)
    if settings.owner not in _held_by(cursor, settings.deployer):
        yield change(
            f"let {settings.deployer} act as {settings.owner}", "GRANT {} TO {}", settings.owner, settings.deployer
        )
    yield from _marked(cursor, settings, settings.deployer, "migrations")


def _schema(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    schema, owner = settings.schema, settings.owner
    if not single(cursor, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)", schema):
        yield change(f"make schema {schema}", "CREATE SCHEMA {} AUTHORIZATION {}", schema, owner)
    creates = (
        "SELECT EXISTS (SELECT FROM pg_database, aclexplode(datacl) JOIN pg_roles ON pg_roles.oid = grantee"
        " WHERE datname = current_database() AND rolname = %s AND privilege_type = 'CREATE')"
    )
    if not single(cursor, creates, owner):
        # What CREATE EXTENSION asks for a trusted extension.
        yield change(
            f"let {owner} create in database {settings.database}",
            "GRANT CREATE ON DATABASE {} TO {}",
            settings.database,
            owner,
        )
    if _public_is_open(cursor) and not in_public(cursor):
        yield change("close schema public", "REVOKE ALL ON SCHEMA public FROM PUBLIC")


def _public_is_open(cursor: extensions.cursor) -> bool:
    open_to_all = (
        "SELECT EXISTS (SELECT FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))"
        " WHERE nspname = 'public' AND grantee = 0)"
    )
    return bool(single(cursor, open_to_all))


def in_public(cursor: extensions.cursor) -> int:
    """Count what stands in the schema public while it is open: others may use it, so it stays so."""
    if not _public_is_open(cursor):
        return 0
    used = (
        "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = public.oid AND relkind <> 'i')"
        " + (SELECT count(*) FROM pg_proc WHERE pronamespace = public.oid)"
        " + (SELECT count(*) FROM pg_type WHERE typnamespace = public.oid AND typrelid = 0 AND typelem = 0)"
        " FROM pg_namespace public WHERE nspname = 'public'"
    )
    return int(single(cursor, used))


def _login(cursor: extensions.cursor, settings: Settings, user: User) -> Iterator[Change]:
    cursor.execute(f"SELECT {_ATTRIBUTES} FROM pg_roles WHERE rolname = %s", [user.name])  # noqa: S608
    attributes = cursor.fetchone()
    if not attributes:
        yield change(f"make user {user.name}", "CREATE ROLE {} LOGIN NOINHERIT", user.name)
    elif attributes != _LOGIN_ONLY:
        yield change(f"limit user {user.name}", "ALTER ROLE {} LOGIN NOINHERIT NOCREATEDB NOCREATEROLE", user.name)
    limited = "SELECT coalesce((SELECT rolconnlimit FROM pg_roles WHERE rolname = %s), -1)"  # a new role's is -1
    if single(cursor, limited, user.name) != user.connection_limit:
        limit = sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(
            sql.Identifier(user.name), sql.Literal(user.connection_limit)
        )
        allowed = "any number of" if user.connection_limit == UNLIMITED else user.connection_limit
        yield Change(f"allow {user.name} {allowed} connections", (limit,))
    yield from _marked(cursor, settings, user.name, _KINDS[user.access])


def _marked(cursor: extensions.cursor, settings: Settings, role: str, kind: str) -> Iterator[Change]:
    mark = f"{kind} {_mark(settings)}"
    if _comment(cursor, role) != mark:
        comment = sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(mark))
        yield Change(f"mark {role}", (comment,))


def _comment(cursor: extensions.cursor, role: str) -> str | None:
    cursor.execute("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [role])
    found: tuple[str | None] | None = cursor.fetchone()
    return found[0] if found else None


def _memberships(cursor: extensions.cursor, settings: Settings, user: User) -> Iterator[Change]:
    held = _held_by(cursor, user.name)
    if user.auth == "iam" and "rds_iam" not in held:
        # For a member of rds_iam the instance takes no password, so an old one is only something to lose.
        name = sql.Identifier(user.name)
        yield Change(
            f"log {user.name} in by IAM",
            (sql.SQL("GRANT rds_iam TO {}").format(name), sql.SQL("ALTER ROLE {} PASSWORD NULL").format(name)),
        )
    if user.auth == "password" and "rds_iam" in held:
        yield change(f"log {user.name} in by password", "REVOKE rds_iam FROM {}", user.name)
    for role in (settings.owner, settings.application.name):
        if role == settings.acts_as(user) and role not in held:
            yield change(f"let {user.name} act as {role}", "GRANT {} TO {}", role, user.name)
        if role != settings.acts_as(user) and role in held:
            yield change(f"stop {user.name} acting as {role}", "REVOKE {} FROM {}", role, user.name)


def _held_by(cursor: extensions.cursor, role: str) -> set[str]:
    """Return the roles that a role is a member of."""
    cursor.execute(
        "SELECT held.rolname FROM pg_auth_members"
        " JOIN pg_roles held ON held.oid = roleid JOIN pg_roles holder ON holder.oid = member"
        " WHERE holder.rolname = %s",
        [role],
    )
    return {name for (name,) in cursor.fetchall()}


def _privileges(cursor: extensions.cursor, settings: Settings, user: User) -> Iterator[Change]:
    tables, sequences = PRIVILEGES.get(user.access, NO_PRIVILEGES)
    usage = {"USAGE"} if tables else set()
    if _granted(cursor, settings, user) == {"schema": usage, "tables": tables, "sequences": sequences}:
        return
    wanted = (("SCHEMA", usage), ("TABLES", tables), ("SEQUENCES", sequences))
    there = relations(cursor, settings)
    names = {
        "schema": sql.Identifier(settings.schema),
        "owner": sql.Identifier(settings.owner),
        "user": sql.Identifier(user.name),
        "TABLES": sql.SQL(", ".join(there["TABLES"])),
        "SEQUENCES": sql.SQL(", ".join(there["SEQUENCES"])),
    }
    statements = []
    for kind, privileges in wanted:
        objects = "SCHEMA {schema}" if kind == "SCHEMA" else f"{kind.removesuffix('S')} {{{kind}}}"
        default = "" if kind == "SCHEMA" else "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} "
        listed = ", ".join(sorted(privileges))
        if kind == "SCHEMA" or there[kind]:
            statements.append(f"REVOKE ALL ON {objects} FROM {{user}}")
            if listed:
                statements.append(f"GRANT {listed} ON {objects} TO {{user}}")
        if default:
            statements.append(f"{default}REVOKE ALL ON {kind} FROM {{user}}")
        if default and listed:
            statements.append(f"{default}GRANT {listed} ON {kind} TO {{user}}")
    yield Change(
        f"let {user.name} {user.access} in schema {settings.schema}",
        tuple(sql.SQL(statement).format(**names) for statement in statements),
    )


def _granted(cursor: extensions.cursor, settings: Settings, user: User) -> dict[str, set[str]]:
    """Read a user's privileges on the schema, and those it gets on what is made there."""
    cursor.execute(
        "SELECT 'schema', acl.privilege_type FROM pg_namespace, aclexplode(nspacl) acl"
        " JOIN pg_roles ON pg_roles.oid = acl.grantee WHERE nspname = %(schema)s AND rolname = %(user)s"
        " UNION ALL "
        "SELECT CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' END, acl.privilege_type"
        " FROM pg_default_acl JOIN pg_namespace ON pg_namespace.oid = defaclnamespace"
        " JOIN pg_roles maker ON maker.oid = defaclrole, aclexplode(defaclacl) acl"
        " JOIN pg_roles ON pg_roles.oid = acl.grantee"
        " WHERE nspname = %(schema)s AND maker.rolname = %(owner)s AND pg_roles.rolname = %(user)s"
        " AND defaclobjtype IN ('r', 'S')",
        {"schema": settings.schema, "owner": settings.owner, "user": user.name},
    )
    granted: dict[str, set[str]] = {"schema": set(), "tables": set(), "sequences": set()}
    for kind, privilege in cursor.fetchall():
        granted[kind].add(privilege)
    return granted


def _role_settings(cursor: extensions.cursor, settings: Settings, user: User) -> Iterator[Change]:
    wanted = dict(user.settings)
    if acts_as := settings.acts_as(user):
        wanted["role"] = acts_as  # what a person who migrates makes belongs to the owner too
    cursor.execute(
        "SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_roles ON pg_roles.oid = setrole"
        " WHERE rolname = %s AND setdatabase = 0",
        [user.name],
    )
    stored = [text.split("=", 1) for (text,) in cursor.fetchall()]
    actual = {name.lower(): value for name, value in stored}  # some are shown as TimeZone, DateStyle
    if actual == {name: _as_stored(cursor, name, value) for name, value in wanted.items()}:
        return
    role = sql.Identifier(user.name)
    statements = [sql.SQL("ALTER ROLE {} RESET ALL").format(role)]
    for name, value in wanted.items():
        given = (
            sql.SQL(", ").join(sql.Identifier(part) for part in _names(value))
            if name in _QUOTED_LISTS
            else (sql.Literal(value))
        )
        parameter = sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))
        statements.append(sql.SQL("ALTER ROLE {} SET {} = {}").format(role, parameter, given))
    yield Change(f"set the settings of {user.name}: {', '.join(sorted(wanted))}", tuple(statements))


def _as_stored(cursor: extensions.cursor, name: str, value: str) -> str:
    if name not in _QUOTED_LISTS:
        return value
    cursor.execute("SELECT string_agg(quote_ident(name), ', ') FROM unnest(%s) name", [_names(value)])
    return str(first(cursor))


def _names(listed: str) -> list[str]:
    return [name.strip().strip('"') for name in listed.split(",")]


def _removed(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    wanted = [settings.owner, settings.deployer, *(user.name for user in settings.users)]
    cursor.execute(
        "SELECT rolname FROM pg_roles WHERE right(shobj_description(oid, 'pg_authid'), length(%(mark)s)) = %(mark)s"
        " AND rolname <> ALL (%(wanted)s) ORDER BY rolname",
        {"mark": _mark(settings), "wanted": wanted},
    )
    for (name,) in cursor.fetchall():
        user, owner = sql.Identifier(name), sql.Identifier(settings.owner)
        yield Change(
            f"drop user {name}",
            (
                sql.SQL("GRANT {} TO CURRENT_USER").format(user),  # or its privileges are not ours to revoke
                sql.SQL("REASSIGN OWNED BY {} TO {}").format(user, owner),
                sql.SQL("DROP OWNED BY {}").format(user),
                sql.SQL("DROP ROLE {}").format(user),
            ),
        )


def _refuse_what_is_not_ours(cursor: extensions.cursor, settings: Settings) -> None:
    """A role that somebody else made keeps its rights and its password; a schema keeps its owner."""
    master = single(cursor, "SELECT current_user")
    for role in (settings.owner, settings.deployer, *(user.name for user in settings.users)):
        exists = single(cursor, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", role)
        comment = _comment(cursor, role) or ""
        if exists and comment.endswith("made by its bootstrap function") and not comment.endswith(_mark(settings)):
            raise RoleError(
                f"Role {role!r} exists and was not made by this bootstrap: its comment is {comment!r}."
                " Choose another name for this one's user."
            )
        if exists and not comment.endswith(_mark(settings)):
            raise RoleError(
                f"Role {role!r} exists and was not made by this bootstrap: choose another name. To hand the role over,"
                f' as whoever made it: GRANT "{role}" TO "{master}" WITH ADMIN OPTION;'
                f" COMMENT ON ROLE \"{role}\" IS 'user {_mark(settings)}'"
            )
    cursor.execute("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", [settings.schema])
    if (found := cursor.fetchone()) and found[0] != settings.owner and not settings.adopt:
        raise SchemaTakenError(
            f"Schema {settings.schema!r} exists and belongs to {found[0]!r}: choose another application.schema. To take"
            ' it over, look at what the event {"action": "plan"} lists, and set application.adopt = true.'
        )
    if settings.adopt:
        refuse_what_cannot_be_adopted(cursor, settings)
    cursor.execute(
        "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = %s AND rolname <> %s",
        [f"{_KINDS['write']} {_mark(settings)}", settings.application.name],
    )
    if found := cursor.fetchone():
        raise RoleError(
            f"application.user was {found[0]!r} and is now {settings.application.name!r}: what logs in as {found[0]!r}"
            f" would be shut out. Keep the name, or make a new application beside it."
        )


def _mark(settings: Settings) -> str:
    """Return the end of the comment by which a later run knows the roles that it made."""
    return f"of schema {settings.schema} in database {settings.database}, made by its bootstrap function"
