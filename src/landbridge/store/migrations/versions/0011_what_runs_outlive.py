"""Find what is to be cleared among the outermost runs alone, and what those do not wait for.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_OUTERMOST = sa.text("parent_id IS NULL")
_ON_ITS_OWN = sa.text("parent_id IS NOT NULL AND parent_step IS NULL")


def upgrade() -> None:
    op.drop_index(op.f("ix_runs_is_cleared_finished_at"), "runs")
    op.create_index(
        op.f("ix_runs_is_cleared_finished_at"),
        "runs",
        ["is_cleared", "finished_at"],
        sqlite_where=_OUTERMOST,
        postgresql_where=_OUTERMOST,
    )
    op.create_index(
        op.f("ix_runs_finished_at"), "runs", ["finished_at"], sqlite_where=_ON_ITS_OWN, postgresql_where=_ON_ITS_OWN
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_finished_at"), "runs")
    op.drop_index(op.f("ix_runs_is_cleared_finished_at"), "runs")
    op.create_index(op.f("ix_runs_is_cleared_finished_at"), "runs", ["is_cleared", "finished_at"])
