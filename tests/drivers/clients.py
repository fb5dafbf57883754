"""What applications do with a driver, run through the stand-in to see what pins. Each function is a row of pins.toml.

python clients.py NAME    with libpq's environment variables
"""

# ruff: noqa: PLC0415  each runs in a process of its own, with its driver only

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from typing import Any

TIMES = 12  # the same statement: drivers begin to prepare it after some
USER, PASSWORD, HOST = os.environ["PGUSER"], os.environ["PGPASSWORD"], os.environ["PGHOST"]
PORT, DATABASE = int(os.environ["PGPORT"]), os.environ["PGDATABASE"]


def _dbapi(connection: Any) -> None:
    """Read and write with parameters, in transactions: one commits, one fails."""
    cursor = connection.cursor()
    for number in range(TIMES):
        cursor.execute("SELECT id, name FROM items WHERE id = %s", [number])
        cursor.fetchall()
    connection.commit()
    cursor.executemany("INSERT INTO items (name) VALUES (%s)", [("one",), ("two",), ("three",)])
    connection.commit()
    try:
        cursor.execute("SELECT 1 / %s", [0])
    except Exception:
        connection.rollback()
    connection.close()


def psycopg2() -> None:
    import psycopg2

    _dbapi(psycopg2.connect(""))


def psycopg2_named_cursor() -> None:
    import psycopg2

    with psycopg2.connect("") as connection, connection.cursor("all") as cursor:
        cursor.execute("SELECT * FROM items")
        cursor.fetchall()


def psycopg2_read_only_in_autocommit() -> None:
    import psycopg2

    connection = psycopg2.connect("")
    connection.set_session(readonly=True, autocommit=True)
    connection.cursor().execute("SELECT 1")


def psycopg2_read_only() -> None:
    import psycopg2

    connection = psycopg2.connect("")
    connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
    connection.cursor().execute("SELECT 1")
    connection.commit()


def psycopg() -> None:
    import psycopg

    _dbapi(psycopg.connect(""))


def psycopg_unprepared() -> None:
    import psycopg

    _dbapi(psycopg.connect("", prepare_threshold=None))


def psycopg_server_cursor() -> None:
    import psycopg

    with psycopg.connect("", prepare_threshold=None) as connection, connection.cursor("all") as cursor:
        cursor.execute("SELECT * FROM items").fetchall()


def psycopg_async() -> None:
    asyncio.run(_psycopg_async())


def psycopg_async_unprepared() -> None:
    asyncio.run(_psycopg_async(prepare_threshold=None))


async def _psycopg_async(**settings: Any) -> None:
    import psycopg

    async with await psycopg.AsyncConnection.connect("", **settings) as connection:
        for number in range(TIMES):
            await connection.execute("SELECT id, name FROM items WHERE id = %s", [number])
        await connection.cursor().executemany("INSERT INTO items (name) VALUES (%s)", [("one",), ("two",)])


def asyncpg() -> None:
    asyncio.run(_asyncpg())


def asyncpg_uncached() -> None:
    asyncio.run(_asyncpg(statement_cache_size=0))


async def _asyncpg(**settings: Any) -> None:
    import asyncpg

    connection = await asyncpg.connect(ssl=_tls(), **settings)
    for number in range(TIMES):
        await connection.fetch("SELECT id, name FROM items WHERE id = $1", number)
    async with connection.transaction():
        await connection.executemany("INSERT INTO items (name) VALUES ($1)", [("one",), ("two",)])
    await connection.close()


def asyncpg_own_type() -> None:
    asyncio.run(_asyncpg_fetch("SELECT 'low'::level"))


def asyncpg_cast_to_text() -> None:
    asyncio.run(_asyncpg_fetch("SELECT 'low'::level::text"))


async def _asyncpg_fetch(statement: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(ssl=_tls(), statement_cache_size=0)
    await connection.fetch(statement)
    await connection.close()


def asyncpg_pool() -> None:
    asyncio.run(_asyncpg_pool())


def asyncpg_pool_without_reset() -> None:
    async def nothing(_: Any) -> None:
        pass

    asyncio.run(_asyncpg_pool(reset=nothing))


async def _asyncpg_pool(**settings: Any) -> None:
    import asyncpg

    async with asyncpg.create_pool(ssl=_tls(), min_size=1, max_size=1, statement_cache_size=0, **settings) as pool:
        for number in range(TIMES):
            await pool.fetch("SELECT id, name FROM items WHERE id = $1", number)


def pg8000() -> None:
    _dbapi(_pg8000())


def pg8000_prepared() -> None:
    import pg8000.native

    connection = pg8000.native.Connection(
        USER, password=PASSWORD, host=HOST, port=PORT, database=DATABASE, ssl_context=_tls()
    )
    connection.prepare("SELECT id FROM items WHERE id = :id").run(id=1)


def _pg8000() -> Any:
    import pg8000.dbapi

    return pg8000.dbapi.connect(
        user=USER, password=PASSWORD, host=HOST, port=PORT, database=DATABASE, ssl_context=_tls()
    )


def sqlalchemy_psycopg2() -> None:
    _sqlalchemy("psycopg2")


def sqlalchemy_psycopg() -> None:
    _sqlalchemy("psycopg")


def sqlalchemy_psycopg_unprepared() -> None:
    _sqlalchemy("psycopg", connect_args={"prepare_threshold": None})


def sqlalchemy_pg8000() -> None:
    _sqlalchemy("pg8000", connect_args={"ssl_context": _tls()})


def sqlalchemy_pg8000_isolation() -> None:
    _sqlalchemy("pg8000", connect_args={"ssl_context": _tls()}, isolation_level="REPEATABLE READ")


def sqlalchemy_psycopg_isolation() -> None:
    _sqlalchemy("psycopg", connect_args={"prepare_threshold": None}, isolation_level="REPEATABLE READ")


def _sqlalchemy(driver: str, **settings: Any) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(_url(driver), **settings)
    items = _items(sa)
    for number in range(TIMES):
        with engine.begin() as connection:
            connection.execute(sa.select(items).where(items.c.id == number)).all()
            connection.execute(sa.insert(items), [{"name": "one"}, {"name": "two"}])
    engine.dispose()


def sqlalchemy_asyncpg() -> None:
    asyncio.run(_sqlalchemy_asyncpg())


def sqlalchemy_asyncpg_uncached() -> None:
    asyncio.run(_sqlalchemy_asyncpg(statement_cache_size=0, prepared_statement_cache_size=0))


async def _sqlalchemy_asyncpg(**settings: Any) -> None:
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(_url("asyncpg"), connect_args={"ssl": _tls(), **settings})
    items = _items(sa)
    for number in range(TIMES):
        async with engine.begin() as connection:
            (await connection.execute(sa.select(items).where(items.c.id == number))).all()
            await connection.execute(sa.insert(items), [{"name": "one"}, {"name": "two"}])
    await engine.dispose()


def _items(sa: Any) -> Any:
    return sa.Table("items", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))


def _url(driver: str) -> str:
    return f"postgresql+{driver}://{USER}:{PASSWORD}@{HOST}:{PORT}/{DATABASE}"


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])


def django() -> None:
    _django()


def django_other_time_zone() -> None:
    _django(TIME_ZONE="Europe/Berlin", USE_TZ=False)


def django_iterator() -> None:
    list(_django().objects.all().iterator())


def django_iterator_on_the_client() -> None:
    list(_django(DISABLE_SERVER_SIDE_CURSORS=True).objects.all().iterator())


def django_server_side_binding() -> None:
    _django(OPTIONS={"server_side_binding": True})


def django_isolation() -> None:
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    _django(OPTIONS={"isolation_level": IsolationLevel.REPEATABLE_READ})


def django_role() -> None:
    _django(OPTIONS={"assume_role": "other"})


def _django(*, TIME_ZONE: str = "UTC", USE_TZ: bool = True, **database: Any) -> Any:  # noqa: N803
    from django import setup
    from django.conf import settings

    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": DATABASE,
        "USER": USER,
        "PASSWORD": PASSWORD,
        "HOST": HOST,
        "PORT": PORT,
        **database,
    }
    settings.configure(DATABASES={"default": database}, TIME_ZONE=TIME_ZONE, USE_TZ=USE_TZ)
    setup()
    from django.db import models, transaction

    class Item(models.Model):
        name = models.TextField()

        class Meta:
            app_label = "items"
            db_table = "items"

    for number in range(TIMES):
        Item.objects.filter(id=number).first()
        with transaction.atomic():
            Item.objects.create(name="one").delete()
            with transaction.atomic():
                Item.objects.bulk_create([Item(name="two"), Item(name="three")])
    return Item


if __name__ == "__main__":
    globals()[sys.argv[1]]()
