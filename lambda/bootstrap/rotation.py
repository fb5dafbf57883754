"""The four steps of Secrets Manager's rotation, for one user whose password changes in place.

PostgreSQL keeps one password a role, so the old one ends the moment the new one is set. To keep that moment short and
safe, the new password first goes to a stand-in role, is tested there, and reaches the user only in the last step,
together with the label that makes it current. Every step can be run again.

Whoever may invoke the function can send any event. A step is only taken for a version that Secrets Manager itself
labelled AWSPENDING, or that is current already: an older version would bring an old password back.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

from psycopg2 import extensions, sql

from .database import accepts, connect, exclusive
from .errors import RoleError, RotationError
from .passwords import require_login, set_password
from .secret_store import Login, SecretStore, new_login
from .settings import Settings, User


class Rotation:
    """One rotation of one user's secret, known by the version that is to become current."""

    def __init__(self, settings: Settings, store: SecretStore, master: Login, *, secret: str, version: str):
        self._settings = settings
        self._store = store
        self._master = master
        self._secret = secret
        self._version = version
        self._user = _user_of(settings, secret)

    def run(self, step: str) -> None:
        steps = {
            "createSecret": self._create,
            "setSecret": self._set,
            "testSecret": self._test,
            "finishSecret": self._finish,
        }
        if step not in steps:
            raise RotationError(f"{step!r} is none of the steps {', '.join(steps)}.")
        if self._requested() == "AWSCURRENT" and step != "finishSecret":
            return  # a repeated rotation; finishing looks after what may be left
        steps[step]()

    def _requested(self) -> str:
        """Return the label by which the version may be worked on; refuse what Secrets Manager did not open."""
        rotates, stages = self._store.rotation(self._secret)
        if not rotates:
            raise RotationError(f"The secret of {self._user.name} has no rotation turned on.")
        labels = stages.get(self._version, [])
        if "AWSCURRENT" in labels:
            return "AWSCURRENT"
        # A label that was left behind when the value was replaced by hand does not make an old password new.
        if "AWSPENDING" in labels and "AWSPREVIOUS" not in labels:
            return "AWSPENDING"
        raise RotationError(
            f"Version {self._version} of the secret of {self._user.name} is not being rotated: "
            f"its labels are {', '.join(labels) or 'none'}."
        )

    def _create(self) -> None:
        if self._store.labelled(self._secret, self._version, "AWSPENDING") is None:
            self._store.put_pending(self._secret, self._version, new_login(self._user.name))

    def _set(self) -> None:
        stand_in = self._stand_in(self._pending())
        role = sql.Identifier(stand_in.username)
        with self._master_session() as cursor:
            comment = f"stand-in for {self._user.name} during a rotation"
            exists = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
            cursor.execute(exists, [stand_in.username])
            found = cursor.fetchone()
            if found is None:
                cursor.execute(sql.SQL("CREATE ROLE {} LOGIN NOINHERIT").format(role))
                cursor.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(comment)))
            elif found != (comment,):
                raise RoleError(f"Role {stand_in.username!r} exists and was not made by a rotation: rename it.")
            set_password(cursor, stand_in)
            # Should the rotation be given up here, the role is of no use to anybody later.
            end = datetime.now(UTC) + timedelta(hours=1)
            cursor.execute(sql.SQL("ALTER ROLE {} VALID UNTIL {}").format(role, sql.Literal(end.isoformat())))

    def _test(self) -> None:
        login = self._pending()
        # The user itself has it when Secrets Manager tries this step alone, with a copy of the current value.
        if not accepts(self._settings, login):
            require_login(self._settings, self._stand_in(login))

    def _finish(self) -> None:
        with self._master_session() as cursor:
            # Under the lock: meanwhile another rotation may have begun, or finished.
            label = self._requested()
            login = self._checked(self._store.labelled(self._secret, self._version, label))
            stand_in = self._stand_in(login)
            if not accepts(self._settings, login):
                set_password(cursor, login)
            cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(stand_in.username)))
            # Before the commit: when this call fails, the old password stays both set and current.
            self._store.make_current(self._secret, self._version)
        require_login(self._settings, login)

    @contextmanager
    def _master_session(self) -> Iterator[extensions.cursor]:
        with (
            closing(connect(self._settings, self._master)) as connection,
            exclusive(connection, self._settings.roles_lock) as cursor,
        ):
            yield cursor

    def _pending(self) -> Login:
        return self._checked(self._store.labelled(self._secret, self._version, "AWSPENDING"))

    def _checked(self, login: Login | None) -> Login:
        if login is None or login.username != self._user.name:
            raise RotationError(f"Version {self._version} of the secret holds no password of {self._user.name}.")
        return login

    def _stand_in(self, login: Login) -> Login:
        return Login(f"{login.username}_next", login.password)


def _user_of(settings: Settings, secret: str) -> User:
    for user in settings.users:
        if user.secret_arn == secret:
            return user
    raise RotationError(f"{secret} is the secret of none of the users.")
