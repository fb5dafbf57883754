"""The function's settings, read once from its environment and checked by name."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast, get_args

from .errors import SettingsError

Access = Literal["write", "application", "read", "migrate"]
Auth = Literal["iam", "password"]

# Bound on the role, because the proxy refuses `options=` and pins a session on SET.
APPLICATION_SETTINGS = {
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "10s",
}

# What a user may do with the tables and the sequences of the schema.
PRIVILEGES: dict[str, tuple[set[str], set[str]]] = {
    "write": ({"SELECT", "INSERT", "UPDATE", "DELETE"}, {"SELECT", "USAGE"}),
    "read": ({"SELECT"}, {"SELECT"}),
}
NO_PRIVILEGES: tuple[set[str], set[str]] = (set(), set())  # of those who act as another role

UNLIMITED = -1  # as PostgreSQL writes it

T = TypeVar("T")

_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,55}")  # "_deploy" must fit into PostgreSQL's 63 bytes
_USER_NAME = re.compile(r"[a-z_][a-z0-9_.@-]{0,55}")  # "_next" likewise
_IAM_USER_NAME = re.compile(r"[a-z_][a-z0-9_.@-]{0,59}")  # the application's user and "_iam"
# Names that PostgreSQL or RDS keeps for itself, as in modules/bootstrap. "rds" is one because of "rds_iam".
_RESERVED_NAME = re.compile(
    r"pg_.*|rds_.*|rds|rdsadmin|rdsproxyadmin|rdsrepladmin|rdstopmgr|postgres"
    r"|public|none|user|current_user|current_role|session_user"
)
_PARAMETER_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
# Who a session acts as is decided by the user's access.
_NO_SETTINGS = ("role", "session_authorization")


@dataclass(frozen=True)
class User:
    """A login role: what it may do in the schema, how it proves itself, and its role settings."""

    name: str
    access: Access
    auth: Auth
    secret_arn: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    connection_limit: int = UNLIMITED


@dataclass(frozen=True)
class Settings:
    host: str
    port: int
    database: str
    ca_file: str
    master_secret_arn: str
    function: str  # this one's name
    schema: str
    users: tuple[User, ...]  # the application user comes first
    adopt: bool = False  # whether a schema that somebody else made is taken over
    connect_timeout_seconds: int = 10

    @property
    def owner(self) -> str:
        """Return the role that owns the schema and all in it; nobody logs in as it."""
        return f"{self.schema}_owner"

    @property
    def deployer(self) -> str:
        """Return the role that logs in to run migrations, and can act as the owner and as nobody else."""
        return f"{self.schema}_deploy"

    @property
    def database_lock(self) -> str:
        """Name the lock of what all applications of the database share."""
        return "bootstrap"

    @property
    def roles_lock(self) -> str:
        """Name the lock of the application's roles and passwords."""
        return f"bootstrap roles {self.schema}"

    @property
    def migrations_lock(self) -> str:
        """Name the lock of the application's migrations, which a rotation need not wait for."""
        return f"bootstrap migrations {self.schema}"

    @property
    def application(self) -> User:
        return self.users[0]

    def acts_as(self, user: User) -> str | None:
        """Return the role that a session of the user becomes when it begins; None: it stays the user's own."""
        return {"application": self.application.name, "migrate": self.owner}.get(user.access)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check the environment; the first wrong variable is named in the error."""
    schema = _read(environment, "APPLICATION_SCHEMA", _matching(_SCHEMA_NAME))
    application = _application(environment, schema)
    further = _read(environment, "FURTHER_USERS", lambda text: _further_users(text, schema), default="{}")
    for user in application:
        if user.name in [other.name for other in further]:
            raise SettingsError(f"FURTHER_USERS must not name {user.name!r}, which the application logs in as.")
    settings = Settings(
        host=_read(environment, "PGHOST", str),
        port=_read(environment, "PGPORT", int),
        database=_read(environment, "PGDATABASE", str),
        ca_file=_read(environment, "PGSSLROOTCERT", str),
        master_secret_arn=_read(environment, "MASTER_SECRET_ARN", str),
        function=_read(environment, "AWS_LAMBDA_FUNCTION_NAME", str),
        schema=schema,
        users=(*application, *further),
        adopt=_read(environment, "APPLICATION_ADOPT", _switch, default="0"),
        connect_timeout_seconds=_read(environment, "PGCONNECT_TIMEOUT", int, default="10"),
    )
    for user in settings.users:
        if user.name == settings.owner:
            raise SettingsError(f"No user may be called {user.name!r}: that role owns schema {schema!r}.")
        if user.name == settings.deployer:
            raise SettingsError(f"No user may be called {user.name!r}: that role runs the migrations.")
        if user.name.endswith("_next"):
            raise SettingsError(f"No user may be called {user.name!r}: rotation makes and drops such roles.")
        if _RESERVED_NAME.fullmatch(user.name):
            raise SettingsError(f"No user may be called {user.name!r}: PostgreSQL or RDS reserves that name.")
    if _RESERVED_NAME.fullmatch(settings.owner):
        raise SettingsError(
            f"No schema may be called {schema!r}: its owner {settings.owner!r} is a name that RDS reserves."
        )
    return settings


def _application(environment: Mapping[str, str], schema: str) -> list[User]:
    """Return the application's user, which has a password, and the one that logs in by IAM and acts as it.

    They are two, since a role takes one or the other; so neither the proxy nor the functions that connect directly
    lose their way in when an environment changes from one to the other.
    """
    settings = {
        **APPLICATION_SETTINGS,
        "search_path": schema,
        **_read(environment, "APPLICATION_SETTINGS", _role_settings, default="{}"),
    }
    name = _read(environment, "APPLICATION_USER", _matching(_USER_NAME))
    secret_arn = _read(environment, "APPLICATION_SECRET_ARN", str)
    limit = _read(environment, "APPLICATION_CONNECTION_LIMIT", _connection_limit, default=str(UNLIMITED))
    users = [User(name, "write", "password", secret_arn=secret_arn, settings=settings, connection_limit=limit)]
    if environment.get("APPLICATION_IAM_USER"):  # only where the instance takes tokens
        by_iam = _read(environment, "APPLICATION_IAM_USER", _matching(_IAM_USER_NAME))
        users.append(User(by_iam, "application", "iam", settings=settings, connection_limit=limit))
    return users


def _read(environment: Mapping[str, str], name: str, parse: Callable[[str], T], default: str | None = None) -> T:
    text = environment.get(name) or default
    if text is None:
        raise SettingsError(f"{name} is not set.")
    try:
        return parse(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(f"{name} is malformed: {error}") from error


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} must match {pattern.pattern}")
        return text

    return parse


def _switch(text: str) -> bool:
    return {"0": False, "1": True}[text]


def _connection_limit(text: str) -> int:
    limit = int(text)
    if limit < 1 and limit != UNLIMITED:
        raise ValueError(f"{limit} must be at least 1")
    return limit


def _auth(text: str) -> Auth:
    if text not in get_args(Auth):
        raise ValueError(f"{text!r} must be one of {', '.join(get_args(Auth))}")
    return cast(Auth, text)


def _access(text: str) -> Access:
    if text not in ("read", "migrate"):
        raise ValueError(f"access {text!r} must be read or migrate")
    return cast(Access, text)


def _role_settings(text: str) -> dict[str, str]:
    """Read parameters by name, in lower case: PostgreSQL takes any case, and shows some as TimeZone."""
    settings: dict[str, str] = {}
    for given, value in json.loads(text).items():
        name = _matching(_PARAMETER_NAME)(given.lower())
        if name in settings:
            raise ValueError(f"{name} is given twice")
        if name in _NO_SETTINGS:
            raise ValueError(f"{name} cannot be set: access decides whom a user acts as")
        settings[name] = str(value)
    return settings


def _further_users(text: str, schema: str) -> list[User]:
    users = []
    for name, given in json.loads(text).items():
        auth = _auth(given["auth"])
        secret_arn = given.get("secret_arn") if auth == "password" else None
        if auth == "password" and not secret_arn:
            raise ValueError(f"user {name!r} logs in by password and needs a secret_arn")
        users.append(
            User(
                name=_matching(_USER_NAME)(name),
                access=_access(given["access"]),
                auth=auth,
                secret_arn=secret_arn,
                settings={"search_path": schema, **_role_settings(json.dumps(given.get("settings") or {}))},
            )
        )
    return users
