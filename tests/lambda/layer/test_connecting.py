"""A failed connect says what to do, waits only where waiting helps, and never longer than the invocation has."""

# ruff: noqa: S105  a loan and what happens in it are one promise; passwords of test servers

from __future__ import annotations

import json
import socket
import threading
import time

import psycopg2
import pytest
from lambda_postgres import CannotConnect, Keeper, LoginRefused, PoolExhausted
from lambda_postgres.connecting import _explain
from lambda_postgres.log import Log


class Context:
    """Lambda's context: so much time is left."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self.end - time.monotonic()) * 1000)


def use(keeper, context=None):
    with keeper.connection(context) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")


def attempts(capsys):
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line["attempt"] for line in lines if line["event"] == "connect failed"]


@pytest.mark.parametrize(
    ("text", "kind", "sqlstate", "transient"),
    [
        ("FATAL:  sorry, too many clients already", PoolExhausted, "53300", True),
        ("FATAL:  remaining connection slots are reserved for roles with SUPERUSER", PoolExhausted, "53300", True),
        ('FATAL:  too many connections for role "app"', PoolExhausted, "53300", True),
        ("FATAL:  IAM authentication failed because of too many competing requests", PoolExhausted, "53300", True),
        ("FATAL:  maximum number of client connections reached", PoolExhausted, "53300", True),
        ("FATAL:  Rate of connection to proxy exceeded", PoolExhausted, "53300", True),
        ("FATAL:  Timed-out waiting to acquire database connection", PoolExhausted, "08000", True),
        ("FATAL:  no more connections allowed (max_client_conn)", PoolExhausted, "08P01", True),
        ("FATAL:  query_wait_timeout", PoolExhausted, "08P01", True),
        (
            "FATAL:  server login has been failing, cached error: password authentication failed (server_login_retry)",
            *(CannotConnect, "08P01", True),
        ),
        ("FATAL:  the database system is starting up", CannotConnect, "57P03", True),
        ("FATAL:  the database system is shutting down", CannotConnect, "57P03", True),
        ("FATAL:  the database system is in recovery mode", CannotConnect, "57P03", True),
        ("FATAL:  terminating connection due to administrator command", CannotConnect, "57P01", True),
        ('FATAL:  password authentication failed for user "app"', LoginRefused, "28P01", False),
        ('FATAL:  PAM authentication failed for user "app"', LoginRefused, "28000", False),
        ('FATAL:  IAM authentication failed for the role "app"', LoginRefused, "28P01", False),
        ('FATAL:  The password that was provided for the role "app" is wrong.', LoginRefused, "28P01", False),
        ('FATAL:  This RDS proxy has no credentials for the role "app".', LoginRefused, "28000", False),
        ("FATAL:  IAM authentication is allowed only with SSL connections", LoginRefused, "28000", False),
        ("FATAL:  RDS supports only IAM, MD5, or SCRAM authentication", LoginRefused, "28000", False),
        ("FATAL:  This RDS Proxy requires TLS connections", LoginRefused, "28000", False),
        ('FATAL:  no pg_hba.conf entry for host "127.0.0.1"', LoginRefused, "28000", False),
        ('FATAL:  role "app" does not exist', LoginRefused, "28000", False),
        ('FATAL:  database "other" does not exist', CannotConnect, None, False),
        ("FATAL:  Feature not supported: RDS Proxy currently doesn't support the option x", CannotConnect, None, False),
        ("SSL error: certificate verify failed", CannotConnect, None, False),
        ('server certificate for "a" does not match host name "b"', CannotConnect, None, False),
        ("server does not support SSL, but SSL was required", CannotConnect, None, False),
        ("Connection refused\n\tIs the server running?", CannotConnect, "08001", True),
        ("timeout expired", CannotConnect, "08001", True),
        ("server closed the connection unexpectedly", CannotConnect, "08001", True),
        ('could not translate host name "db" to address: Temporary failure', CannotConnect, "08001", True),
    ],
)
def test_the_servers_text_is_understood(settings, text, kind, sqlstate, transient):
    cause = psycopg2.OperationalError(f'connection to server at "db", port 5432 failed: {text}\n')
    error = _explain(settings, cause)
    assert type(error) is kind
    assert error.__cause__ is cause
    assert (error.sqlstate, error.transient) == (sqlstate, transient)
    for part in (settings.host, str(settings.port), settings.user, text.split("\n")[0]):
        assert part in str(error)


def test_a_certificate_of_another_authority_is_refused(settings, certificates):
    wrong = settings._replace(ca_file=str(certificates.ca_file("proxy")))
    with pytest.raises(CannotConnect, match="certificate verify failed") as caught:
        use(Keeper(wrong))
    assert not caught.value.transient


def test_a_certificate_of_another_host_is_refused(settings):
    with pytest.raises(CannotConnect, match="does not match host name"):
        use(Keeper(settings._replace(host="other.eu-central-1.rds.amazonaws.com")))


def test_a_missing_certificate_file_is_no_downgrade(settings, tmp_path):
    with pytest.raises(CannotConnect, match="does not exist"):
        use(Keeper(settings._replace(ca_file=str(tmp_path / "none.pem"))))


def test_a_refused_login_is_tried_once_and_says_what_to_check(settings, secrets, capsys):
    secrets.password = "not the server's"
    with pytest.raises(LoginRefused) as caught:
        use(Keeper(settings, log=Log()))
    assert caught.value.__notes__ == ["check that the secret holds this user's password"]
    assert attempts(capsys) == [1]


def test_a_refused_token_says_what_to_check(settings, capsys):
    with pytest.raises(LoginRefused) as caught:
        use(Keeper(settings._replace(auth="iam", secret_arn=None), log=Log()))
    (hint,) = caught.value.__notes__
    assert "rds-db:connect" in hint
    assert "rds_iam" in hint
    assert "clock" in hint
    assert attempts(capsys) == [1]


def test_a_database_that_does_not_exist_is_tried_once(settings, capsys):
    with pytest.raises(CannotConnect, match='database "none" does not exist'):
        use(Keeper(settings._replace(database="none"), log=Log()))
    assert attempts(capsys) == [1]


def test_a_server_that_comes_back_is_reached_within_the_invocation(settings, relay, capsys):
    relay.stop_listening()
    threading.Timer(0.5, relay.listen).start()
    keeper = Keeper(settings._replace(port=relay.port), log=Log())
    use(keeper, Context(10))
    keeper.close()
    assert len(attempts(capsys)) >= 2


def test_trying_again_ends_with_the_settings_patience(settings, relay, capsys):
    relay.stop_listening()
    began = time.monotonic()
    with pytest.raises(CannotConnect, match="refused"):
        use(Keeper(settings._replace(port=relay.port, retry_seconds=1), log=Log()))
    assert time.monotonic() - began < 4
    assert 3 <= len(attempts(capsys)) <= 15, "with pauses between them"


def test_trying_again_leaves_the_invocation_time_to_answer(settings, relay):
    relay.stop_listening()
    context = Context(2)
    with pytest.raises(CannotConnect):
        use(Keeper(settings._replace(port=relay.port)), context)
    assert context.get_remaining_time_in_millis() > 500


def test_a_server_that_never_answers_ends_in_the_connect_timeout(settings, relay):
    relay.stop_listening()
    with socket.create_server(("127.0.0.1", relay.port)):
        began = time.monotonic()
        with pytest.raises(CannotConnect, match="timeout expired"):
            use(Keeper(settings._replace(port=relay.port, connect_timeout_seconds=2, retry_seconds=0)))
    assert time.monotonic() - began < 4.5


def test_init_keeps_its_failure_for_the_first_invocation(settings, relay, capsys):
    relay.stop_listening()
    keeper = Keeper(settings._replace(port=relay.port, retry_seconds=0), log=Log())
    keeper.warm()
    keeper._await_pending()
    assert attempts(capsys) == [1]
    with pytest.raises(CannotConnect) as caught:
        use(keeper)
    assert caught.value.__notes__[0].startswith("During init: cannot connect to")
    relay.listen()
    use(keeper)
    keeper.close()


def test_a_connection_of_init_is_lent_to_the_first_invocation(keeper, capsys):
    keeper.warm()
    use(keeper)
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["event"], line["reason"], line["attempt"]) == ("connected", "init", 1)
