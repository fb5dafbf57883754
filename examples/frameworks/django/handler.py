"""The sample function with Django: an event in, the first users out."""

from __future__ import annotations

import json
from typing import Any

from lambda_postgres import warm

warm()  # connects while Django is imported

import django  # noqa: E402
from django.conf import settings  # noqa: E402

# A project has these in its settings.py, and its models in applications.
settings.configure(DATABASES={"default": {"ENGINE": "lambda_postgres.django"}}, USE_TZ=True)
django.setup()

from django.db import models  # noqa: E402
from lambda_postgres.django import invocation  # noqa: E402


class User(models.Model):
    """A row of the table that the first migration makes."""

    id = models.IntegerField(primary_key=True)
    name = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        app_label, db_table, managed = "app", "users", False


def handler(_event: object, context: Any) -> dict[str, Any]:
    """Answer an API Gateway request with the first ten users."""
    with invocation(context):
        rows = list(User.objects.order_by("id").values("id", "name", "created_at")[:10])
    found = [{**row, "created_at": row["created_at"].isoformat()} for row in rows]
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(found)}
