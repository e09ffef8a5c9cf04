"""The first tables.  Written out, not taken from tables.py: a migration says what was, tables.py what is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    op.create_table("subjects", sa.Column("vm", sa.String(64), primary_key=True))
    _create_where_it_stands()
    _create_personas()
    _create_findings()
    _create_what_it_rests_on()
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        _vm(),
        sa.Column("version_before", sa.Integer, nullable=True),
        sa.Column("version_after", sa.Integer, nullable=False),
    )


def _vm(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("vm", sa.String(64), sa.ForeignKey("subjects.vm"), primary_key=primary_key, nullable=False)


def _create_where_it_stands() -> None:
    op.create_table(
        "position",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("closed_until", sa.Integer, nullable=True),
        sa.Column("skipped", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "pending",
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.String(16), nullable=False),
        sa.Column("rows", sa.LargeBinary, nullable=False),
    )


def _create_personas() -> None:
    op.create_table(
        "states",
        _vm(primary_key=True),
        sa.Column("persona", sa.LargeBinary, nullable=False),
        sa.Column("memory", sa.LargeBinary, nullable=False),
    )
    op.create_table("open_personas", _vm(primary_key=True), sa.Column("persona", sa.LargeBinary, nullable=False))
    op.create_table(
        "versions",
        _vm(primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("open", sa.Boolean, primary_key=True),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("persona", sa.LargeBinary, nullable=False),
    )


def _create_findings() -> None:
    op.create_table(
        "findings",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("open", sa.Boolean, primary_key=True),
        _vm(),
        sa.Column("judged_at", sa.Integer, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_index("findings_by_vm", "findings", ["vm", "judged_at"])
    op.create_table(
        "terms",
        _vm(primary_key=True),
        sa.Column("finding", sa.String(64), primary_key=True),
        sa.Column("at", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("open", sa.Boolean, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def _create_what_it_rests_on() -> None:
    op.create_table(
        "vms",
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table("names", _vm(primary_key=True), sa.Column("value", sa.LargeBinary, nullable=False))
    op.create_table(
        "context",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
