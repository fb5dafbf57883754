"""Alembic's revisions, listed and applied for the bootstrap function."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

config = Config()
config.set_main_option("script_location", str(Path(__file__).parent))


def revisions():
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def upgrade(connection, revision):
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connection, poolclass=StaticPool)
    with engine.connect() as config.attributes["connection"]:
        command.upgrade(config, revision)
