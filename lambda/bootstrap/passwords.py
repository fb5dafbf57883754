"""Passwords of login roles: their secret holds the value, the server only a SCRAM verifier."""

from psycopg2 import extensions, sql

from .database import accepts, exclusive, refusal
from .errors import LoginError
from .secret_store import Credential, SecretStore, new_credential
from .settings import Settings, User


def ensure_login(connection: extensions.connection, store: SecretStore, settings: Settings, user: User) -> bool:
    """Make the user's secret and its role agree; tell whether anything had to change.

    The secret comes first: when the function dies in between, the next run finds the value and sets it.
    """
    arn = _secret_of(user)
    with exclusive(connection, settings.roles_lock) as cursor:
        credential = _usable(store.current(arn), user)
        if credential and accepts(settings, credential):
            return False
        if not credential:
            credential = new_credential(user.name)
            store.put_current(arn, credential)
        set_password(cursor, credential)
    require_login(settings, credential)
    return True


def login_works(store: SecretStore, settings: Settings, user: User) -> bool:
    """Tell whether the user's secret lets it in, changing nothing."""
    credential = _usable(store.current(_secret_of(user)), user)
    return credential is not None and accepts(settings, credential)


def set_password(cursor: extensions.cursor, credential: Credential) -> None:
    """Give a role its password: as the verifier that the server stores, so that no server log can show it."""
    verifier = extensions.encrypt_password(
        credential.password, credential.username, scope=cursor.connection, algorithm="scram-sha-256"
    )
    role = sql.Identifier(credential.username)
    cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier)))


def require_login(settings: Settings, credential: Credential) -> None:
    if reason := refusal(settings, credential):
        raise LoginError(f"{credential.username} cannot log in with the password of its secret: {reason}")


def _usable(credential: Credential | None, user: User) -> Credential | None:
    return credential if credential and credential.username == user.name else None


def _secret_of(user: User) -> str:
    assert user.secret_arn, "settings give every password user a secret"
    return user.secret_arn
