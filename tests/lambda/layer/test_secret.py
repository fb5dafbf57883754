"""The password in a secret: signed for, kept, and read again when the server refuses it."""

# ruff: noqa: S105  passwords of test servers

from __future__ import annotations

import pytest
from lambda_postgres import CannotConnect, Keeper, LoginRefused, NotConfigured, aws, credentials

from .support import set_password


def use(keeper):
    with keeper.connection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return cursor.fetchone()[0]


def reconnect(keeper):
    keeper.close()
    return use(keeper)


def test_the_secret_is_read_once_for_several_connections(keeper, secrets):
    assert use(keeper) == "app"
    assert reconnect(keeper) == "app"
    assert secrets.requests == ["AWSCURRENT"]


def test_the_secret_is_read_again_after_an_hour(keeper, secrets, clock):
    use(keeper)
    clock.offset += 3601
    reconnect(keeper)
    assert secrets.requests == ["AWSCURRENT"] * 2


def test_a_rotated_password_is_read_at_once_when_the_old_one_is_refused(keeper, secrets, server):
    use(keeper)
    secrets.password = "canary-rotated"
    set_password(server, secrets.password)
    assert reconnect(keeper) == "app"
    assert secrets.requests == ["AWSCURRENT"] * 2
    reconnect(keeper)
    assert len(secrets.requests) == 2, "the new one is kept"


def test_a_rotation_half_way_is_no_outage(keeper, secrets, server):
    """Secrets Manager sets the password in the database before it moves AWSCURRENT."""
    use(keeper)
    secrets.pending = "canary-pending"
    set_password(server, secrets.pending)
    assert reconnect(keeper) == "app"
    assert secrets.requests == ["AWSCURRENT", "AWSCURRENT", "AWSPENDING"]


def test_a_wrong_password_is_shown_to_the_server_once(keeper, secrets, server):
    set_password(server, "another")
    with pytest.raises(LoginRefused, match="password authentication failed"):
        use(keeper)
    assert secrets.requests == ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]


def test_a_rotation_cut_in_its_last_step_is_no_outage(keeper, secrets, server):
    """The label has moved, but the database kept the old password."""
    secrets.previous, secrets.password = "canary-previous", "canary-never-set"
    set_password(server, secrets.previous)
    assert use(keeper) == "app"
    assert secrets.requests == ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]


def test_a_kept_password_goes_on_being_used_while_secrets_manager_is_away(keeper, secrets, clock):
    use(keeper)
    clock.offset += 3601
    secrets.answer = (500, b"oops")
    assert reconnect(keeper) == "app"
    clock.offset += 59
    assert reconnect(keeper) == "app"
    assert secrets.requests == ["AWSCURRENT"] * 2, "it is left in peace for a minute"
    clock.offset += 2
    assert reconnect(keeper) == "app"
    assert secrets.requests == ["AWSCURRENT"] * 3
    secrets.answer = None
    clock.offset += 61
    assert reconnect(keeper) == "app"
    clock.offset += 3500
    assert reconnect(keeper) == "app"
    assert secrets.requests == ["AWSCURRENT"] * 4, "it is kept for an hour again"


def test_a_kept_password_that_is_refused_while_secrets_manager_is_away_is_told(settings, secrets, server, clock):
    keeper = Keeper(settings._replace(retry_seconds=0), clock=clock)
    use(keeper)
    secrets.answer = (500, b"oops")
    set_password(server, "another")
    with pytest.raises(CannotConnect, match="HTTP status 500"):
        reconnect(keeper)
    clock.offset += 3601
    with pytest.raises(CannotConnect, match="HTTP status 500"):
        reconnect(keeper)


def test_a_kept_password_is_not_used_once_the_secret_may_not_be_read(keeper, secrets, clock):
    use(keeper)
    clock.offset += 3601
    secrets.answer = (400, {"__type": "AccessDeniedException"})
    with pytest.raises(LoginRefused, match="AccessDenied"):
        reconnect(keeper)


def test_a_version_that_may_not_be_read_does_not_hide_the_servers_refusal(keeper, secrets, server, monkeypatch):
    set_password(server, "another")
    real = aws.secret_login

    def read(settings, key, *, stage, now):
        if stage != "AWSCURRENT":
            raise LoginRefused("target", "AccessDeniedException")
        return real(settings, key, stage=stage, now=now)

    monkeypatch.setattr(aws, "secret_login", read)
    with pytest.raises(LoginRefused, match="password authentication failed"):
        use(keeper)
    assert secrets.requests == ["AWSCURRENT"]


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        ((400, {"__type": "AccessDeniedException"}), LoginRefused, "AccessDeniedException; check that the role may"),
        ((400, {"__type": "com.amazonaws#DecryptionFailure"}), LoginRefused, r": DecryptionFailure; .*kms:Decrypt"),
        ((400, {"__type": "ResourceNotFoundException"}), LoginRefused, "ResourceNotFoundException"),
        ((200, {"SecretString": '{"username": "app"}'}), LoginRefused, "must hold JSON with username and password"),
        (
            (200, {"SecretString": r'{"password": "canary\u0000"}'}),
            LoginRefused,
            "must hold JSON with username and password",
        ),
        ((200, {"SecretString": "canary"}), LoginRefused, "must hold JSON"),
        ((200, b"canary"), LoginRefused, "must hold JSON"),
        ((200, b"[1]"), LoginRefused, "must hold JSON"),
        ((500, b"oops"), CannotConnect, "HTTP status 500"),
        ((400, {"__type": "ThrottlingException"}), CannotConnect, "ThrottlingException"),
    ],
)
def test_what_secrets_manager_refuses_is_told(settings, secrets, answer, kind, match):
    secrets.answer = answer
    with pytest.raises(kind, match=match) as caught:
        use(Keeper(settings._replace(retry_seconds=0)))
    assert type(caught.value) is kind
    assert "canary" not in str(caught.value)


def test_a_secrets_manager_out_of_reach_is_tried_again(settings, secrets, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    with pytest.raises(CannotConnect, match=r"ConnectionRefusedError from 127.0.0.1:1") as caught:
        use(Keeper(settings._replace(retry_seconds=0.3)))
    assert caught.value.transient
    monkeypatch.delenv("AWS_ENDPOINT_URL_SECRETS_MANAGER")
    monkeypatch.setenv("AWS_ENDPOINT_URL", secrets.url)
    keeper = Keeper(settings)
    assert use(keeper) == "app"
    keeper.close()


@pytest.mark.parametrize(
    ("arn", "host"),
    [
        ("arn:aws:secretsmanager:eu-central-1:1:secret:a", "secretsmanager.eu-central-1.amazonaws.com"),
        ("arn:aws-cn:secretsmanager:cn-north-1:1:secret:a", "secretsmanager.cn-north-1.amazonaws.com.cn"),
    ],
)
@pytest.mark.usefixtures("secrets")
def test_without_an_endpoint_given_it_is_the_regions_own_over_https(settings, monkeypatch, arn, host):
    asked = []
    monkeypatch.delenv("AWS_ENDPOINT_URL_SECRETS_MANAGER")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(aws, "_request", lambda _, url, headers, **__: asked.append((url, headers["host"])) or (0, {}))
    with pytest.raises(CannotConnect):
        aws.secret_login(settings._replace(secret_arn=arn), credentials.current(), stage="AWSCURRENT", now=0)
    assert asked == [(f"https://{host}", host)]


@pytest.mark.parametrize("arn", ["app", "arn:aws:secretsmanager::1:secret:a", "arn:aws:s3:::bucket"])
def test_what_is_no_arn_of_a_secret_is_named(settings, arn):
    with pytest.raises(NotConfigured, match="DB_SECRET_ARN must be the ARN"):
        use(Keeper(settings._replace(secret_arn=arn)))
