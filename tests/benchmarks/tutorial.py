"""The peer: a handler as the common tutorials write it, down to the rows as a str."""

import os
import time

import boto3
import psycopg2
from psycopg2.extras import RealDictCursor

connection = None
connected_at = 0.0


def connect():
    global connection, connected_at  # noqa: PLW0603  as in the tutorials
    client = boto3.client("rds")
    token = client.generate_db_auth_token(
        DBHostname=os.environ["PGHOST"], Port=os.environ["PGPORT"], DBUsername=os.environ["PGUSER"]
    )
    connection = psycopg2.connect(
        host=os.environ["PGHOST"],
        port=os.environ["PGPORT"],
        user=os.environ["PGUSER"],
        password=token,
        dbname=os.environ["PGDATABASE"],
        sslmode="require",
    )
    connected_at = time.time()


connect()


def handler(event, context):  # noqa: ARG001
    if time.time() - connected_at > 14 * 60:
        connect()
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
        rows = cursor.fetchall()
    return {"statusCode": 200, "body": str(rows)}
