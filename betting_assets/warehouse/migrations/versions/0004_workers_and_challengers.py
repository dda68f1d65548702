"""What every process of the prediction service serves; the code of a deployment; challengers in the prediction log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "deployment",
        sa.Column(
            "code",
            sa.Text(),
            nullable=False,
            server_default="",
            comment=(
                "Digest of the Bento's code: workers swap models of the same code in place; other code starts anew."
            ),
        ),
        schema="serving",
    )
    op.add_column(
        "prediction_log",
        sa.Column(
            "role",
            sa.Text(),
            nullable=False,
            server_default="champion",
            comment=("champion: it was the answer; challenger: it was computed beside the answer, and nobody saw it."),
        ),
        schema="serving",
    )
    op.create_check_constraint("role", "prediction_log", "role IN ('champion', 'challenger')", schema="serving")
    op.create_table(
        "worker",
        sa.Column("worker", sa.Text(), nullable=False, comment="host:pid of the process."),
        sa.Column("bento_tag", sa.Text(), nullable=False, comment="Bento whose code it runs."),
        sa.Column("code", sa.Text(), nullable=False, comment="Digest of that code."),
        sa.Column(
            "deployment_id",
            sa.BigInteger(),
            nullable=True,
            comment="Deployment whose models it serves; null: those of its own Bento.",
        ),
        sa.Column("refused_id", sa.BigInteger(), nullable=True, comment="Deployment that it refuses to serve now."),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it refused that one."),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was ready (UTC).",
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it last said so (UTC); long ago: it is dead.",
        ),
        sa.PrimaryKeyConstraint("worker", name="worker_pkey"),
        schema="serving",
        comment="Processes of the prediction service, and what each of them serves.",
    )


def downgrade() -> None:
    op.drop_table("worker", schema="serving")
    op.drop_column("prediction_log", "role", schema="serving")
    op.drop_column("deployment", "code", schema="serving")
