"""A function whose init goes on after warm(): it imports boto3, as most do. Its handler only borrows the connection."""

import os

from lambda_postgres import connection, warm

if os.environ.get("BENCH_CONNECT") == "1":
    warm()

import boto3  # noqa: F401


def handler(event, context):  # noqa: ARG001
    if os.environ.get("BENCH_CONNECT") == "1":
        with connection(context):
            pass
    return {"statusCode": 200, "body": "[]"}
