"""What streams leave in PostgreSQL: ticks, results, predictions, dead letters, and how far their readers are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "current_book",
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match."),
        sa.Column("market", sa.Text(), nullable=False, comment="Market."),
        sa.Column("line", sa.Double(), nullable=False, comment="Line of the market."),
        sa.Column("bookmaker", sa.Text(), nullable=False, comment="Slug of the bookmaker."),
        sa.Column(
            "prices",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="Decimal odds in the order of the market's selections; NaN where there is none.",
        ),
        sa.Column(
            "lay",
            postgresql.ARRAY(sa.Double()),
            nullable=True,
            comment="Prices of an exchange to lay at, likewise; null for bookmakers.",
        ),
        sa.Column("trading", sa.Text(), nullable=False, comment="open, suspended or closed."),
        sa.Column("in_play", sa.Boolean(), nullable=False, comment="Whether the match was under way."),
        sa.Column(
            "taken_at", sa.DateTime(timezone=True), nullable=False, comment="When the source took these prices (UTC)."
        ),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="Orders the ticks of one book at one time."),
        sa.Column("tick_epoch", sa.SmallInteger(), nullable=False, comment="Of the tick that said so."),
        sa.Column("tick_partition", sa.Integer(), nullable=False, comment="Of the tick that said so."),
        sa.Column("tick_offset", sa.BigInteger(), nullable=False, comment="Of the tick that said so."),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When a cell of this row last changed (UTC).",
        ),
        sa.PrimaryKeyConstraint("match_id", "market", "line", "bookmaker", name="current_book_pkey"),
        schema="stream",
        comment="The scorer's state: the newest book of each bookmaker; changes with its positions, atomically.",
    )
    op.create_table(
        "dead_letter",
        sa.Column("topic", sa.Text(), nullable=False, comment="Name of the topic that it came from."),
        sa.Column("epoch", sa.SmallInteger(), nullable=False, comment="Which log of the topic, see stream.topic_log."),
        sa.Column("partition", sa.Integer(), nullable=False, comment="Partition of the topic."),
        sa.Column("offset", sa.BigInteger(), nullable=False, comment="Offset in the partition."),
        sa.Column("reason", sa.Text(), nullable=False, comment="What is wrong with it, one word."),
        sa.Column("detail", sa.Text(), nullable=False, comment="The same in one line: where, what, how to mend it."),
        sa.Column("key", sa.LargeBinary(), nullable=True, comment="Its key, as sent."),
        sa.Column("payload", sa.LargeBinary(), nullable=True, comment="Its bytes, as sent."),
        sa.Column(
            "headers",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Its headers: name and hexadecimal value.",
        ),
        sa.Column(
            "produced_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Timestamp of the message, given by its producer (UTC).",
        ),
        sa.Column(
            "landed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was landed (UTC).",
        ),
        sa.Column(
            "replayed_at", sa.DateTime(timezone=True), nullable=True, comment="When it was last sent again (UTC)."
        ),
        sa.PrimaryKeyConstraint("topic", "epoch", "partition", "offset", name="dead_letter_pkey"),
        schema="stream",
        comment="Every message that could not be used, with the reason and its original bytes.",
    )
    op.create_index("dead_letter_landed_at_idx", "dead_letter", ["landed_at"], unique=False, schema="stream")
    op.create_table(
        "match_result",
        sa.Column("epoch", sa.SmallInteger(), nullable=False, comment="Which log of the topic, see stream.topic_log."),
        sa.Column("partition", sa.Integer(), nullable=False, comment="Partition of the topic."),
        sa.Column("offset", sa.BigInteger(), nullable=False, comment="Offset in the partition."),
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match; need not be in core.match."),
        sa.Column("status", sa.Text(), nullable=False, comment="final or void."),
        sa.Column(
            "home_score", sa.SmallInteger(), nullable=True, comment="Final score of the team at home; null if void."
        ),
        sa.Column(
            "away_score", sa.SmallInteger(), nullable=True, comment="Final score of the team away; null if void."
        ),
        sa.Column(
            "statistics",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Counts by column of core.football_statistics.",
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False, comment="When the match was over (UTC)."),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="Orders results of one match of one time."),
        sa.Column("source", sa.Text(), nullable=False, comment="Feed that told it."),
        sa.Column(
            "fixture",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="The match, where the feed tells it.",
        ),
        sa.Column(
            "produced_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Timestamp of the message, given by its producer (UTC).",
        ),
        sa.Column(
            "landed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was landed (UTC).",
        ),
        sa.PrimaryKeyConstraint("epoch", "partition", "offset", name="match_result_pkey"),
        schema="stream",
        comment="Every result message that was valid, exactly once.",
    )
    op.create_index("match_result_finished_at_idx", "match_result", ["finished_at"], unique=False, schema="stream")
    op.create_index("match_result_match_id_idx", "match_result", ["match_id"], unique=False, schema="stream")
    op.create_table(
        "odds_tick",
        sa.Column("epoch", sa.SmallInteger(), nullable=False, comment="Which log of the topic, see stream.topic_log."),
        sa.Column("partition", sa.Integer(), nullable=False, comment="Partition of the topic."),
        sa.Column("offset", sa.BigInteger(), nullable=False, comment="Offset in the partition."),
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match; need not be in core.match."),
        sa.Column("bookmaker", sa.Text(), nullable=False, comment="Slug of the bookmaker."),
        sa.Column("market", sa.Text(), nullable=False, comment="Market, e.g. 1x2 or over_under."),
        sa.Column("line", sa.Double(), nullable=False, comment="Line of the market, 0 where it has none."),
        sa.Column(
            "prices",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="Decimal odds in the order of the market's selections; NaN where there is none.",
        ),
        sa.Column(
            "lay",
            postgresql.ARRAY(sa.Double()),
            nullable=True,
            comment="Prices of an exchange to lay at, likewise; null for bookmakers.",
        ),
        sa.Column("trading", sa.Text(), nullable=False, comment="open, suspended or closed."),
        sa.Column("in_play", sa.Boolean(), nullable=False, comment="Whether the match was under way."),
        sa.Column(
            "taken_at", sa.DateTime(timezone=True), nullable=False, comment="When the source took these prices (UTC)."
        ),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="Orders the ticks of one book at one time."),
        sa.Column("source", sa.Text(), nullable=False, comment="Feed that told it."),
        sa.Column(
            "fixture",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="The match, where the feed tells it.",
        ),
        sa.Column(
            "produced_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Timestamp of the message, given by its producer (UTC).",
        ),
        sa.Column(
            "landed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was landed (UTC).",
        ),
        sa.PrimaryKeyConstraint("epoch", "partition", "offset", name="odds_tick_pkey"),
        schema="stream",
        comment="Every odds tick that was valid, exactly once.",
    )
    op.create_index(
        "odds_tick_match_id_taken_at_idx", "odds_tick", ["match_id", "taken_at"], unique=False, schema="stream"
    )
    op.create_index(
        "odds_tick_taken_at_brin", "odds_tick", ["taken_at"], unique=False, schema="stream", postgresql_using="brin"
    )
    op.create_table(
        "planned_range",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the range, growing."
        ),
        sa.Column("topic", sa.Text(), nullable=False, comment="Name of the topic."),
        sa.Column("epoch", sa.SmallInteger(), nullable=False, comment="Which log of the topic."),
        sa.Column("partition", sa.Integer(), nullable=False, comment="Partition of the topic."),
        sa.Column("from_offset", sa.BigInteger(), nullable=False, comment="First offset of the range."),
        sa.Column("to_offset", sa.BigInteger(), nullable=False, comment="First offset behind it."),
        sa.Column(
            "run_key",
            sa.Text(),
            nullable=False,
            comment="Key of the Dagster run that was asked to deal with it; shared by ranges of one run.",
        ),
        sa.Column(
            "planned_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was planned (UTC).",
        ),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True, comment="When a run had dealt with it (UTC)."),
        sa.CheckConstraint("from_offset < to_offset", name=op.f("planned_range_not_empty_check")),
        sa.PrimaryKeyConstraint("id", name="planned_range_pkey"),
        schema="stream",
        comment="Which landed offsets were given to which micro-batch: no range is lost or given twice.",
    )
    op.create_index("planned_range_run_key_idx", "planned_range", ["run_key"], unique=False, schema="stream")
    op.create_index(
        "planned_range_starts",
        "planned_range",
        ["topic", "epoch", "partition", "from_offset"],
        unique=True,
        schema="stream",
    )
    op.create_table(
        "position",
        sa.Column("reader", sa.Text(), nullable=False, comment="Who reads: lander or scorer."),
        sa.Column("topic", sa.Text(), nullable=False, comment="Name of the topic."),
        sa.Column("partition", sa.Integer(), nullable=False, comment="Partition of the topic."),
        sa.Column("epoch", sa.SmallInteger(), nullable=False, comment="Which log of the topic."),
        sa.Column(
            "next_offset",
            sa.BigInteger(),
            nullable=False,
            comment="First offset that was not dealt with; changes with the rows, atomically.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it last moved (UTC).",
        ),
        sa.PrimaryKeyConstraint("reader", "topic", "partition", name="position_pkey"),
        schema="stream",
        comment="How far each reader of a topic is. Kafka's own commits are for monitoring only.",
    )
    op.create_table(
        "prediction",
        sa.Column("epoch", sa.SmallInteger(), nullable=False, comment="Which log of the topic, see stream.topic_log."),
        sa.Column("partition", sa.Integer(), nullable=False, comment="Partition of the topic."),
        sa.Column("offset", sa.BigInteger(), nullable=False, comment="Offset in the partition."),
        sa.Column(
            "prediction_id", sa.Text(), nullable=False, comment="The same for repeated publications of one prediction."
        ),
        sa.Column("match_id", sa.Text(), nullable=False, comment="The match."),
        sa.Column("market", sa.Text(), nullable=False, comment="Market that was predicted."),
        sa.Column("line", sa.Double(), nullable=False, comment="Line of the market."),
        sa.Column(
            "probabilities",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="One for each selection; empty where no model answered.",
        ),
        sa.Column(
            "market_probabilities",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="Of the consensus, without margin; empty where there is none.",
        ),
        sa.Column(
            "best_prices",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="Highest trusted decimal odds; empty where nothing can be bet on.",
        ),
        sa.Column("best_bookmakers", postgresql.ARRAY(sa.Text()), nullable=False, comment="Whose prices those are."),
        sa.Column(
            "edges",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="Probability times price minus 1; empty where nothing can be bet on.",
        ),
        sa.Column("withheld", sa.Text(), nullable=True, comment="Why something is empty."),
        sa.Column("withheld_detail", sa.Text(), nullable=True, comment="The same in one line."),
        sa.Column(
            "excluded",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Books that were left out: bookmaker, reason, detail.",
        ),
        sa.Column("variant", sa.Text(), nullable=True, comment="Variant of the model that answered."),
        sa.Column("model_version", sa.Text(), nullable=True, comment="Version of the model that answered."),
        sa.Column("bento", sa.Text(), nullable=True, comment="Bento that answered."),
        sa.Column("tick_epoch", sa.SmallInteger(), nullable=False, comment="Of the newest tick that it speaks for."),
        sa.Column("tick_partition", sa.Integer(), nullable=False, comment="Of the newest tick that it speaks for."),
        sa.Column("tick_offset", sa.BigInteger(), nullable=False, comment="Of the newest tick that it speaks for."),
        sa.Column(
            "taken_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Time of that tick, as its source told it (UTC).",
        ),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False, comment="When it was scored (UTC)."),
        sa.Column(
            "produced_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Timestamp of the message, given by its producer (UTC).",
        ),
        sa.Column(
            "landed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was landed (UTC).",
        ),
        sa.PrimaryKeyConstraint("epoch", "partition", "offset", name="prediction_pkey"),
        schema="stream",
        comment="Every prediction that the scorer published; published again, it has a second row with its id.",
    )
    op.create_index(
        "prediction_match_id_market_scored_at_idx",
        "prediction",
        ["match_id", "market", "scored_at"],
        unique=False,
        schema="stream",
    )
    op.create_table(
        "reader",
        sa.Column("worker", sa.Text(), nullable=False, comment="host:pid of the process."),
        sa.Column("reader", sa.Text(), nullable=False, comment="What it is: lander or scorer."),
        sa.Column("topics", postgresql.ARRAY(sa.Text()), nullable=False, comment="Names of the topics that it reads."),
        sa.Column(
            "partitions",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What it owns: topic to list of partitions.",
        ),
        sa.Column("done", sa.BigInteger(), nullable=False, comment="Messages that it has dealt with since its start."),
        sa.Column("lag", sa.BigInteger(), nullable=False, comment="Messages behind it that wait, in what it owns."),
        sa.Column("message", sa.Text(), nullable=True, comment="What is wrong, in one line; null when all is well."),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it started (UTC).",
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it last said so (UTC); long ago: it is dead.",
        ),
        sa.PrimaryKeyConstraint("worker", "reader", name="reader_pkey"),
        schema="stream",
        comment="Landers and scorers that are alive, and what they own.",
    )
    op.create_table(
        "topic_log",
        sa.Column("topic", sa.Text(), nullable=False, comment="Name of the topic."),
        sa.Column(
            "epoch",
            sa.SmallInteger(),
            nullable=False,
            comment="Counts the logs of this name from 1: a replaced one starts again at offset 0.",
        ),
        sa.Column("cluster_id", sa.Text(), nullable=False, comment="Cluster that holds the log."),
        sa.Column(
            "topic_id",
            sa.Text(),
            nullable=False,
            comment="Identity of the topic in that cluster; empty where the broker tells none.",
        ),
        sa.Column(
            "accepted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this log was first read, or accepted in place of the one before (UTC).",
        ),
        sa.PrimaryKeyConstraint("topic", "epoch", name="topic_log_pkey"),
        schema="stream",
        comment="Which log the offsets of a topic count in.",
    )


def downgrade() -> None:
    op.drop_table("topic_log", schema="stream")
    op.drop_table("reader", schema="stream")
    op.drop_table("prediction", schema="stream")
    op.drop_table("position", schema="stream")
    op.drop_table("planned_range", schema="stream")
    op.drop_table("odds_tick", schema="stream")
    op.drop_table("match_result", schema="stream")
    op.drop_table("dead_letter", schema="stream")
    op.drop_table("current_book", schema="stream")
