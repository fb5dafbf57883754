"""Passwords of login roles: their secret holds the value, the server only a SCRAM verifier."""

from psycopg2 import extensions, sql

from .database import accepts, exclusive, refusal
from .errors import LoginError
from .secret_store import Login, SecretStore, new_login
from .settings import Settings, User


def ensure_login(connection: extensions.connection, store: SecretStore, settings: Settings, user: User) -> bool:
    """Make the user's secret and its role agree; tell whether anything had to change.

    The secret comes first: when the function dies in between, the next run finds the value and sets it.
    """
    arn = _secret_of(user)
    with exclusive(connection, settings.roles_lock) as cursor:
        login = _usable(store.current(arn), user)
        if login and accepts(settings, login):
            return False
        if not login:
            login = new_login(user.name)
            store.put_current(arn, login)
        set_password(cursor, login)
    require_login(settings, login)
    return True


def login_works(store: SecretStore, settings: Settings, user: User) -> bool:
    """Tell whether the user's secret lets it in, changing nothing."""
    login = _usable(store.current(_secret_of(user)), user)
    return login is not None and accepts(settings, login)


def set_password(cursor: extensions.cursor, login: Login) -> None:
    """Give a role its password: as the verifier that the server stores, so that no server log can show it."""
    verifier = extensions.encrypt_password(
        login.password, login.username, scope=cursor.connection, algorithm="scram-sha-256"
    )
    role = sql.Identifier(login.username)
    cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier)))


def require_login(settings: Settings, login: Login) -> None:
    if reason := refusal(settings, login):
        raise LoginError(f"{login.username} cannot log in with the password of its secret: {reason}")


def _usable(login: Login | None, user: User) -> Login | None:
    return login if login and login.username == user.name else None


def _secret_of(user: User) -> str:
    assert user.secret_arn, "settings give every password user a secret"
    return user.secret_arn
