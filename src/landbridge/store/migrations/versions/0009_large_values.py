"""Where the whole of what a step was given and gave is kept, if a row shows only its beginning.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("run_steps", schema=None) as batch_op:
        batch_op.add_column(sa.Column("whole_input", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("whole_output", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("run_steps", schema=None) as batch_op:
        batch_op.drop_column("whole_output")
        batch_op.drop_column("whole_input")
