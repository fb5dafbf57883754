"""Rotation: every step may be repeated or cut short, and the old password ends when the new one is known to work."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from bootstrap import rotation, secret_store

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(Exception, match=words) as refusal:
        call()
    assert type(refusal.value).__name__ == "RotationError"


def stages(target: Any) -> dict[str, list[str]]:
    answer = target.secrets_manager.describe_secret(SecretId=target.secret)
    return dict(answer["VersionIdsToStages"])


def test_the_old_password_works_until_the_new_one_was_tested(target: Any) -> None:
    target.invoke()
    version = target.begin_rotation()
    for step in STEPS[:3]:
        target.rotate(version, step)
        target.connect().close()


def test_open_connections_outlive_a_rotation(target: Any) -> None:
    target.invoke()
    warm = target.connect()
    target.rotate(target.begin_rotation())

    with warm.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM users")
        assert cursor.fetchone() == (3,)
    warm.close()


def test_every_step_may_be_repeated(target: Any) -> None:
    target.invoke()
    version = target.begin_rotation()
    for step in STEPS:
        target.rotate(version, step, step)
        target.connect().close()
    target.rotate(version)

    target.connect().close()
    assert "AWSCURRENT" in stages(target)[version]


def test_nothing_is_left_of_the_stand_in(target: Any) -> None:
    target.invoke()
    target.rotate(target.begin_rotation())

    assert target.inspect("SELECT 1 FROM pg_roles WHERE rolname = %s", f"{target.user}_next") == []


def test_a_password_that_does_not_work_never_becomes_current(target: Any) -> None:
    target.invoke()
    version = target.begin_rotation()
    target.rotate(version, "createSecret", "setSecret")
    target.inspect(f"ALTER ROLE {target.user}_next PASSWORD 'another'")

    with pytest.raises(Exception, match="cannot log in") as refusal:
        target.rotate(version, "testSecret")
    assert type(refusal.value).__name__ == "LoginError"
    target.connect().close()

    target.rotate(version)  # Secrets Manager begins again
    target.connect().close()


def test_when_the_label_cannot_be_moved_the_old_password_stays(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("Secrets Manager does not answer")

    target.invoke()
    version = target.begin_rotation()
    target.rotate(version, *STEPS[:3])
    with monkeypatch.context() as patch:
        patch.setattr(secret_store.SecretStore, "make_current", fail)
        with pytest.raises(ConnectionError):
            target.rotate(version, "finishSecret")
    target.connect().close()

    target.rotate(version, "finishSecret")
    target.connect().close()


def test_a_label_moved_too_early_is_mended_by_the_next_try_or_by_apply(target: Any) -> None:
    target.invoke()
    for mend in (target.rotate, lambda _: target.invoke()):
        version = target.begin_rotation()
        target.rotate(version, *STEPS[:3])
        current = next(name for name, labels in stages(target).items() if "AWSCURRENT" in labels)
        target.secrets_manager.update_secret_version_stage(
            SecretId=target.secret, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=current
        )
        with pytest.raises(psycopg2.OperationalError):
            target.connect()

        mend(version)
        target.connect().close()


def test_the_test_step_alone_accepts_the_current_password(target: Any) -> None:
    """As when rotation is configured but not to begin at once: the pending version is a copy of the current one."""
    target.invoke()
    current = target.secrets_manager.get_secret_value(SecretId=target.secret, VersionStage="AWSCURRENT")["SecretString"]
    version = target.begin_rotation()
    target.secrets_manager.put_secret_value(
        SecretId=target.secret, ClientRequestToken=version, SecretString=current, VersionStages=["AWSPENDING"]
    )

    target.rotate(version, "testSecret")


def test_a_further_users_secret_rotates_too(target: Any) -> None:
    secret = target.make_secret()
    person = f"{target.user}_reader"
    further = f'{{"{person}": {{"access": "read", "auth": "password", "secret_arn": "{secret}"}}}}'
    target.invoke(FURTHER_USERS=further)
    old = target.password(secret)
    target.rotate(target.begin_rotation(secret), secret=secret)

    assert target.password(secret) != old
    assert target.query("SELECT current_user", user=person, password=target.password(secret)) == [(person,)]


def test_what_is_not_a_rotation_of_ours_is_refused(target: Any) -> None:
    target.invoke()
    version = target.begin_rotation()
    target.rotate(version, "createSecret")

    refused(lambda: target.rotate(version, "dropSecret"), "none of the steps")
    refused(lambda: target.rotate("11111111-1111-1111-1111-111111111111"), "is not being rotated")
    refused(lambda: target.rotate(version, secret=target.master_secret), "the secret of none of the users")


@pytest.fixture
def rotated(target: Any) -> tuple[Any, str, str]:
    """A target that was rotated twice, with its previous and its current version."""
    target.invoke()
    previous = target.begin_rotation()
    target.rotate(previous)
    current = target.begin_rotation()
    target.rotate(current)
    assert "AWSPREVIOUS" in stages(target)[previous]
    return target, previous, current


def unchanged(target: Any, attack: Callable[[], object], words: str) -> None:
    """Neither the secret's labels nor its password nor the roles are others after the attack."""

    def look() -> object:
        target.connect().close()
        roles = "SELECT rolname, rolpassword, rolvaliduntil FROM pg_authid WHERE rolname LIKE %s ORDER BY rolname"
        return stages(target), target.password(), target.inspect(roles, f"{target.user}%")

    before = look()
    refused(attack, words)
    assert look() == before


@pytest.mark.parametrize("step", STEPS)
def test_who_may_only_invoke_the_function_cannot_bring_the_previous_password_back(rotated: Any, step: str) -> None:
    target, previous, _ = rotated
    unchanged(target, lambda: target.rotate(previous, step), "is not being rotated: its labels are AWSPREVIOUS")


@pytest.mark.parametrize("step", STEPS)
def test_who_may_only_invoke_the_function_cannot_open_a_rotation(rotated: Any, step: str) -> None:
    target, *_ = rotated
    unknown = "11111111-1111-1111-1111-111111111111"
    unchanged(target, lambda: target.rotate(unknown, step), "is not being rotated: its labels are none")


def test_who_may_only_invoke_the_function_can_but_repeat_what_is_current(rotated: Any) -> None:
    target, _, current = rotated
    before = stages(target), target.password()
    target.rotate(current)
    assert (stages(target), target.password()) == before
    target.connect().close()


def test_a_pending_label_left_at_the_previous_password_does_not_bring_it_back(rotated: Any) -> None:
    """As when the value before was made current by hand after a rotation whose AWSPENDING stayed where it was."""
    target, previous, current = rotated
    target.secrets_manager.update_secret_version_stage(
        SecretId=target.secret, VersionStage="AWSCURRENT", MoveToVersionId=previous, RemoveFromVersionId=current
    )
    target.invoke()
    assert {"AWSPENDING", "AWSPREVIOUS"} == set(stages(target)[current])

    for step in STEPS:
        unchanged(target, lambda step=step: target.rotate(current, step), "is not being rotated")  # type: ignore[misc]


@pytest.mark.parametrize("step", STEPS)
def test_a_cancelled_rotation_is_not_gone_on_with(target: Any, step: str) -> None:
    target.invoke()
    version = target.begin_rotation()
    target.rotate(version, *STEPS[:3])
    target.cancel_rotation()
    unchanged(target, lambda: target.rotate(version, step), "has no rotation turned on")


def test_a_finish_that_waited_for_another_rotation_looks_at_the_labels_again(
    target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.invoke()
    late = target.begin_rotation()
    target.rotate(late, *STEPS[:3])
    exclusive = rotation.exclusive

    def wait_meanwhile(connection: Any, *locks: str) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(rotation, "exclusive", exclusive)
            target.rotate(target.begin_rotation())
        return exclusive(connection, *locks)

    with monkeypatch.context() as patch:
        patch.setattr(rotation, "exclusive", wait_meanwhile)
        refused(lambda: target.rotate(late, "finishSecret"), "is not being rotated")
    assert "AWSCURRENT" not in stages(target).get(late, [])
    target.connect().close()


def test_a_pending_value_for_another_user_is_refused(target: Any) -> None:
    target.invoke()
    version = target.begin_rotation()
    target.secrets_manager.put_secret_value(
        SecretId=target.secret,
        ClientRequestToken=version,
        SecretString='{"username": "app_master", "password": "mine now"}',
        VersionStages=["AWSPENDING"],
    )
    for step in STEPS[1:]:
        refused(lambda step=step: target.rotate(version, step), "holds no password of")  # type: ignore[misc]


def test_twenty_rotations_under_load(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the secret again after a refusal gets in at the second try, as the library does."""
    # Set once, before the threads: to set a variable while libpq reads them can crash the process.
    for name, value in target.environment.items():
        monkeypatch.setenv(name, value)
    target.invoke()
    done = threading.Event()
    retried: list[int] = []
    failed: list[Exception] = []

    def log_in_repeatedly() -> None:
        password = target.password()
        while not done.is_set():
            time.sleep(0.005)
            try:
                target.connect(password=password).close()
            except psycopg2.OperationalError:
                password = target.password()
                retried.append(1)
                try:
                    target.connect(password=password).close()
                except psycopg2.OperationalError as error:
                    failed.append(error)

    clients = [threading.Thread(target=log_in_repeatedly) for _ in range(3)]
    for client in clients:
        client.start()
    for _ in range(20):
        target.rotate(target.begin_rotation())
    done.set()
    for client in clients:
        client.join(10)

    assert retried
    assert failed == []
