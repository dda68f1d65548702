"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMAS = ("raw", "core", "features", "ml", "serving", "stream")


def upgrade() -> None:
    for schema in SCHEMAS:
        op.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    op.create_table(
        "book",
        sa.Column(
            "match_id",
            sa.Text(),
            nullable=False,
            comment="The match; that it exists is checked by write_batch, for a whole frame at once.",
        ),
        sa.Column("market", sa.Text(), nullable=False, comment="Market, e.g. 1x2 or over_under."),
        sa.Column(
            "line",
            sa.Double(),
            nullable=False,
            comment="Line of the market, 0 where it has none; 2.5 goals for over_under.",
        ),
        sa.Column(
            "bookmaker",
            sa.Text(),
            nullable=False,
            comment="Slug of the bookmaker, or market-average and market-maximum.",
        ),
        sa.Column(
            "phase",
            sa.Text(),
            nullable=False,
            comment="pre_close: could still be bet on; close: the last price, a label and never a feature.",
        ),
        sa.Column(
            "prices",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="Decimal odds in the order of the market's selections; NaN where there is none.",
        ),
        sa.Column(
            "taken_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When these prices were taken (UTC); of pre_close books: the decision time.",
        ),
        sa.Column(
            "flag",
            sa.Text(),
            nullable=True,
            comment="Why this book should not be trusted, e.g. overround_high; null when it may.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When a cell of this row last changed (UTC).",
        ),
        sa.CheckConstraint("phase IN ('pre_close', 'close')", name=op.f("book_phase_check")),
        sa.PrimaryKeyConstraint("match_id", "market", "line", "bookmaker", "phase", name=op.f("book_pkey")),
        schema="core",
        comment="Prices of one bookmaker for one line of a market at one time: the unit in which a margin exists.",
    )
    op.create_table(
        "match",
        sa.Column("match_id", sa.Text(), nullable=False, comment="Deterministic slug of league, date, home and away."),
        sa.Column("sport", sa.Text(), nullable=False, comment="Sport, e.g. football."),
        sa.Column("league", sa.Text(), nullable=False, comment="League code of the source, e.g. E0."),
        sa.Column("season", sa.Text(), nullable=False, comment="Season code, e.g. 1718 for 2017/18."),
        sa.Column(
            "rating_pool",
            sa.Text(),
            nullable=False,
            comment="Leagues whose teams' ratings are comparable (one country's pyramid).",
        ),
        sa.Column("match_date", sa.Date(), nullable=False, comment="Local date of the match."),
        sa.Column(
            "kickoff",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Start of the match (UTC); null when only the date is known.",
        ),
        sa.Column("home", sa.Text(), nullable=False, comment="Team at home."),
        sa.Column("away", sa.Text(), nullable=False, comment="Team away."),
        sa.Column("source", sa.Text(), nullable=False, comment="Source that last wrote this row."),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When a cell of this row last changed (UTC).",
        ),
        sa.PrimaryKeyConstraint("match_id", name=op.f("match_pkey")),
        schema="core",
        comment="Fixtures, played or to come.",
    )
    op.create_index(op.f("match_league_season_idx"), "match", ["league", "season"], unique=False, schema="core")
    op.create_index(op.f("match_match_date_idx"), "match", ["match_date"], unique=False, schema="core")
    op.create_table(
        "team_alias",
        sa.Column("rating_pool", sa.Text(), nullable=False, comment="Pool in which the alias holds."),
        sa.Column("alias", sa.Text(), nullable=False, comment="Another spelling."),
        sa.Column("team", sa.Text(), nullable=False, comment="The name used in core.match."),
        sa.PrimaryKeyConstraint("rating_pool", "alias", name=op.f("team_alias_pkey")),
        schema="core",
        comment="Other spellings of team names: kept as data, never guessed.",
    )
    op.create_table(
        "evaluation",
        sa.Column("run_id", sa.Text(), nullable=False, comment="MLflow run of the candidate."),
        sa.Column("market", sa.Text(), nullable=False, comment="Market that was predicted."),
        sa.Column("variant", sa.Text(), nullable=False, comment="fundamentals, market_residual, or a baseline."),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Log-loss, RPS, Brier, calibration, intervals, bets: by name.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was measured (UTC).",
        ),
        sa.PrimaryKeyConstraint("run_id", "market", "variant", name=op.f("evaluation_pkey")),
        schema="ml",
        comment="What the walk-forward evaluation measured.",
    )
    op.create_table(
        "training_snapshot",
        sa.Column("snapshot_hash", sa.Text(), nullable=False, comment="Digest of the rows and columns."),
        sa.Column("market", sa.Text(), nullable=False, comment="Market it trains for."),
        sa.Column("feature_service", sa.Text(), nullable=False, comment="Feast feature service it was joined from."),
        sa.Column("rows", sa.Integer(), nullable=False, comment="Number of rows."),
        sa.Column("columns", postgresql.ARRAY(sa.Text()), nullable=False, comment="Names of the columns, in order."),
        sa.Column("path", sa.Text(), nullable=False, comment="Where the file lies, below the platform's folder."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was made (UTC).",
        ),
        sa.PrimaryKeyConstraint("snapshot_hash", name=op.f("training_snapshot_pkey")),
        schema="ml",
        comment="Training sets, by digest: a model names the one it was trained on.",
    )
    op.create_table(
        "walk_forward_prediction",
        sa.Column("run_id", sa.Text(), nullable=False, comment="MLflow run of the candidate."),
        sa.Column("market", sa.Text(), nullable=False, comment="Market that was predicted."),
        sa.Column("variant", sa.Text(), nullable=False, comment="fundamentals, market_residual, or a baseline."),
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match."),
        sa.Column(
            "probabilities",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="One for each selection, in order; they sum to 1.",
        ),
        sa.Column("test_season", sa.Text(), nullable=False, comment="Season that the model had not seen."),
        sa.PrimaryKeyConstraint("run_id", "market", "variant", "match_id", name=op.f("walk_forward_prediction_pkey")),
        schema="ml",
        comment="Predictions of the walk-forward evaluation, each by a model that knew earlier seasons only.",
    )
    op.create_table(
        "rejected_row",
        sa.Column("file", sa.Text(), nullable=False, comment="Path of the file below the data folder."),
        sa.Column("line", sa.Integer(), nullable=False, comment="Line in the file, counted from 1."),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why the row could not be used."),
        sa.Column("content", sa.Text(), nullable=False, comment="What the row said, cut to 500 characters."),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was first met (UTC).",
        ),
        sa.Column(
            "last_seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was last met (UTC).",
        ),
        sa.PrimaryKeyConstraint("file", "line", "reason", name=op.f("rejected_row_pkey")),
        schema="raw",
        comment="Rows of the input that could not be used: nothing is dropped silently.",
    )
    op.create_table(
        "source_file",
        sa.Column("file", sa.Text(), nullable=False, comment="Path of the file below the data folder."),
        sa.Column(
            "sha256", sa.Text(), nullable=False, comment="Digest of its bytes; unchanged bytes need no second reading."
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="Which reader understood it, e.g. football-data."),
        sa.Column("rows_read", sa.Integer(), nullable=False, comment="Rows that became records."),
        sa.Column("rows_rejected", sa.Integer(), nullable=False, comment="Rows that could not be used."),
        sa.Column(
            "read_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was last read (UTC).",
        ),
        sa.PrimaryKeyConstraint("file", name=op.f("source_file_pkey")),
        schema="raw",
        comment="Every file that was read.",
    )
    op.create_table(
        "deployment",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Number of the deployment, growing.",
        ),
        sa.Column("bento_tag", sa.Text(), nullable=False, comment="Bento that it serves, name:version."),
        sa.Column(
            "market_versions",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Model version for each market.",
        ),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="starting → healthy → current → retired; refused: failed its checks or was rolled back.",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it was refused or retired."),
        sa.Column(
            "known_answers",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Inputs with the answers that the service must give before it may go live.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was proposed (UTC).",
        ),
        sa.Column(
            "made_current_at", sa.DateTime(timezone=True), nullable=True, comment="When it last went live (UTC)."
        ),
        sa.CheckConstraint(
            "status IN ('starting', 'healthy', 'current', 'retired', 'refused')", name=op.f("deployment_status_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("deployment_pkey")),
        schema="serving",
        comment="The log of deployments; at most one is current, and every worker follows it.",
    )
    op.create_index(
        "deployment_one_current",
        "deployment",
        ["status"],
        unique=True,
        schema="serving",
        postgresql_where=sa.text("status = 'current'"),
    )
    op.create_table(
        "prediction_log",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Number of the prediction, growing.",
        ),
        sa.Column(
            "predicted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was given (UTC).",
        ),
        sa.Column("request_id", sa.Text(), nullable=False, comment="Request that asked for it."),
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match; need not be in core.match yet."),
        sa.Column("market", sa.Text(), nullable=False, comment="Market that was predicted."),
        sa.Column("variant", sa.Text(), nullable=False, comment="Variant of the model that answered."),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Version of the model that answered."),
        sa.Column("bento_tag", sa.Text(), nullable=False, comment="Bento that answered."),
        sa.Column(
            "probabilities",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="One for each selection, in order; they sum to 1.",
        ),
        sa.Column(
            "features",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="Features that it saw, where they are kept.",
        ),
        sa.Column(
            "feature_time",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Time of the newest feature that it saw (UTC).",
        ),
        sa.Column("served_by", sa.Text(), nullable=False, comment="Process that answered: host:pid."),
        sa.PrimaryKeyConstraint("id", name=op.f("prediction_log_pkey")),
        schema="serving",
        comment="Every prediction that was served.",
    )
    op.create_index(op.f("prediction_log_match_id_idx"), "prediction_log", ["match_id"], unique=False, schema="serving")
    op.create_index(
        op.f("prediction_log_predicted_at_idx"), "prediction_log", ["predicted_at"], unique=False, schema="serving"
    )
    op.create_table(
        "football_statistics",
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match."),
        sa.Column(
            "home_shots",
            sa.SmallInteger(),
            nullable=True,
            comment="Shots of the team at home; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "away_shots",
            sa.SmallInteger(),
            nullable=True,
            comment="Shots of the team away; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "home_shots_on_target",
            sa.SmallInteger(),
            nullable=True,
            comment="Shots on target of the team at home; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "away_shots_on_target",
            sa.SmallInteger(),
            nullable=True,
            comment="Shots on target of the team away; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "home_corners",
            sa.SmallInteger(),
            nullable=True,
            comment="Corners of the team at home; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "away_corners",
            sa.SmallInteger(),
            nullable=True,
            comment="Corners of the team away; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "home_yellow_cards",
            sa.SmallInteger(),
            nullable=True,
            comment="Yellow cards of the team at home; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "away_yellow_cards",
            sa.SmallInteger(),
            nullable=True,
            comment="Yellow cards of the team away; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "home_red_cards",
            sa.SmallInteger(),
            nullable=True,
            comment="Red cards of the team at home; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "away_red_cards",
            sa.SmallInteger(),
            nullable=True,
            comment="Red cards of the team away; null when the source has none, never a made-up zero.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When a cell of this row last changed (UTC).",
        ),
        sa.ForeignKeyConstraint(["match_id"], ["core.match.match_id"], name=op.f("football_statistics_match_id_fkey")),
        sa.PrimaryKeyConstraint("match_id", name=op.f("football_statistics_pkey")),
        schema="core",
        comment="Counts that football sources add to a result.",
    )
    op.create_table(
        "match_alias",
        sa.Column("source", sa.Text(), nullable=False, comment="Source that names the match differently."),
        sa.Column("external_id", sa.Text(), nullable=False, comment="Its identifier there."),
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match."),
        sa.ForeignKeyConstraint(["match_id"], ["core.match.match_id"], name=op.f("match_alias_match_id_fkey")),
        sa.PrimaryKeyConstraint("source", "external_id", name=op.f("match_alias_pkey")),
        schema="core",
        comment="Identifiers of matches in other sources.",
    )
    op.create_table(
        "result",
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match."),
        sa.Column("home_score", sa.SmallInteger(), nullable=False, comment="Final score of the team at home."),
        sa.Column("away_score", sa.SmallInteger(), nullable=False, comment="Final score of the team away."),
        sa.Column(
            "known_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="First moment at which a feature may use it: midnight after the match date (UTC).",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When a cell of this row last changed (UTC).",
        ),
        sa.ForeignKeyConstraint(["match_id"], ["core.match.match_id"], name=op.f("result_match_id_fkey")),
        sa.PrimaryKeyConstraint("match_id", name=op.f("result_pkey")),
        schema="core",
        comment="Final scores.",
    )
    op.create_table(
        "prediction_outcome",
        sa.Column("prediction_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="The prediction."),
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match."),
        sa.Column("market", sa.Text(), nullable=False, comment="Market that was predicted."),
        sa.Column(
            "outcome", sa.SmallInteger(), nullable=False, comment="Index of the selection that won, counted from 0."
        ),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=False, comment="When the result was known (UTC)."),
        sa.Column(
            "log_loss",
            sa.Double(),
            nullable=False,
            comment="Minus the natural log of the winning selection's probability.",
        ),
        sa.Column(
            "rps",
            sa.Double(),
            nullable=True,
            comment="Ranked probability score (Epstein 1969), divided by selections - 1.",
        ),
        sa.Column(
            "brier",
            sa.Double(),
            nullable=False,
            comment="Brier score (1950): squared error summed over the selections.",
        ),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["serving.prediction_log.id"],
            name=op.f("prediction_outcome_prediction_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("prediction_id", name=op.f("prediction_outcome_pkey")),
        schema="serving",
        comment="Predictions with what became of them.",
    )
    op.create_index(
        op.f("prediction_outcome_settled_at_idx"), "prediction_outcome", ["settled_at"], unique=False, schema="serving"
    )


def downgrade() -> None:
    for schema in reversed(SCHEMAS):
        op.execute(f"DROP SCHEMA {schema} CASCADE")
