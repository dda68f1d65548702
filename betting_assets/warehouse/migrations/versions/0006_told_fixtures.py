"""Which ticks tell a fixture: few do, and `missing_matches` looks for them again and again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "odds_tick_told_fixture",
        "odds_tick",
        ["match_id"],
        unique=False,
        schema="stream",
        postgresql_where=sa.text("fixture IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("odds_tick_told_fixture", table_name="odds_tick", schema="stream")
