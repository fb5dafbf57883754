"""A price for each order."""

import sqlalchemy as sa
from alembic import op

revision = "0002_price"
down_revision = "0001_orders"


def upgrade():
    op.add_column("orders", sa.Column("price", sa.Numeric))
    op.create_index("orders_what", "orders", ["what"])
