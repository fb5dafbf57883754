"""One connection, kept and lent."""

from __future__ import annotations


def test_warm_invocations_get_the_same_connection(keeper):
    with keeper.connection() as first, first.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()
    with keeper.connection() as second, second.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() == pid
    assert first is second
