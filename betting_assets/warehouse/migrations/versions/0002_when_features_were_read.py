"""When the features of a prediction were read: the time at which they can be recomputed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "prediction_log",
        sa.Column(
            "feature_read_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="The online store's clock when the features were read (UTC).",
        ),
        schema="serving",
    )


def downgrade() -> None:
    op.drop_column("prediction_log", "feature_read_at", schema="serving")
