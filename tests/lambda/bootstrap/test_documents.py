"""The SQL that the pages show runs as migrations, in the order in which a reader meets it."""

from typing import Any

from tests.docs import pages


def test_migrations_of_the_pages_apply(target: Any) -> None:
    blocks = pages.blocks("sql")
    assert len(blocks) >= 2
    for number, block in enumerate(blocks, start=2):
        target.write(f"{number:04}_page.sql", block.text)
    assert target.invoke()["migrations"] == ["0001_users.sql", *(f"{n:04}_page.sql" for n in range(2, 2 + len(blocks)))]
    assert target.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_user_id'::regclass") == [(True,)]
