"""Django's migrations, listed and applied for the bootstrap function."""

import os
import sys

sys.modules["psycopg"] = None  # Django takes psycopg 3 where it finds it, and the connection is psycopg2's
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django
from django.core.management.sql import emit_post_migrate_signal
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from psycopg2.extras import register_default_jsonb

django.setup()


class Given(DatabaseWrapper):
    """Django's own backend, on a connection that the bootstrap function opens, commits and closes."""

    def __init__(self, connection):
        super().__init__(connections.settings["default"] | {"AUTOCOMMIT": False}, "default")
        self.given = connection
        register_default_jsonb(connection, loads=lambda text: text)  # as Django's own connections

    def get_connection_params(self):
        return {}

    def get_new_connection(self, _parameters):
        return self.given


def revisions():
    return [".".join(node) for node in _plan(MigrationLoader(None).graph)]


def upgrade(connection, revision):
    connections["default"] = database = Given(connection)
    app, name = revision.split(".", 1)
    executor = MigrationExecutor(database)
    executor.check_replacements()
    if (app, name) not in executor.loader.applied_migrations:  # to name one that is applied would undo those after it
        executor.migrate([(app, name)])
    executor = MigrationExecutor(database)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):  # the last one: make permissions and the like
        emit_post_migrate_signal(verbosity=0, interactive=False, db="default")


def _plan(graph):
    return dict.fromkeys(node for leaf in graph.leaf_nodes() for node in graph.forwards_plan(leaf))
