"""Trunk depth and backward multiply-adds beside the other counts of a net.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("complexity", sa.Column("depth", sa.Integer(), nullable=True))
    op.add_column("complexity", sa.Column("backward_macs", sa.BigInteger(), nullable=True))
