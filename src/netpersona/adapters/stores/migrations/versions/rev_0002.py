"""When each VM and finding was last seen, so that what is too old can go; what people changed outlasts its VM.

Of what an older store holds that is not known: it counts from the end of its last closed window.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UNTIL = "(SELECT closed_until FROM position)"


def upgrade() -> None:
    """Add what is asked for by age."""
    op.add_column("subjects", sa.Column("seen", sa.Integer, nullable=True))
    op.execute(f"UPDATE subjects SET seen = {_UNTIL}")  # noqa: S608 - no outside text
    op.add_column("findings", sa.Column("last_seen", sa.Integer, nullable=False, server_default="0"))
    op.execute(f"UPDATE findings SET last_seen = max(judged_at, coalesce({_UNTIL}, 0))")  # noqa: S608
    op.create_index("findings_by_time", "findings", ["last_seen"])
    op.create_index("versions_by_time", "versions", ["at"])
    op.create_index("terms_by_time", "terms", ["at"])
    _free_the_audit()


def _free_the_audit() -> None:
    """Make its table again without the foreign key."""
    columns = ("id", "at", "who", "what", "vm", "version_before", "version_after")
    op.rename_table("audit", "audit_before")
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("vm", sa.String(64), nullable=False),
        sa.Column("version_before", sa.Integer, nullable=True),
        sa.Column("version_after", sa.Integer, nullable=False),
    )
    named = ", ".join(columns)
    op.execute(f"INSERT INTO audit ({named}) SELECT {named} FROM audit_before")  # noqa: S608
    op.drop_table("audit_before")
