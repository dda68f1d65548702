"""Feature tables of older platforms can take pushed rows; what Feast's own online store left behind goes.

The online store is filled anew by the next materialization of `online_features`.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

VIEWS = ("match_strength", "match_market")


def upgrade() -> None:
    for view in VIEWS:
        op.execute(f"ALTER TABLE IF EXISTS features.{view} ADD COLUMN IF NOT EXISTS pushed_at timestamptz")
        op.execute(f"DROP TABLE IF EXISTS feast.betting_{view}")


def downgrade() -> None:
    for view in VIEWS:
        op.execute(f"ALTER TABLE IF EXISTS features.{view} DROP COLUMN IF EXISTS pushed_at")
