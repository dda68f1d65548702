"""The tables of the platform, declared as data; the migrations are held to this by a test.

Comments are part of the declaration: they become comments in PostgreSQL and column descriptions in the asset graph.
Tables of `features` grow with the frames written to them (warehouse/features.py); Feast keeps a schema of its own.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

SCHEMAS = ("raw", "core", "features", "ml", "serving", "stream")

DEPLOYMENT_STATES = ("starting", "healthy", "current", "retired", "refused")

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _column(name: str, kind: TypeEngine[Any], comment: str, *, null: bool = False, key: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=null, primary_key=key, comment=comment)


def _key(name: str, kind: TypeEngine[Any], comment: str) -> Column[Any]:
    return _column(name, kind, comment, key=True)


def _moment(name: str, comment: str, *, null: bool = False) -> Column[Any]:
    return _column(name, DateTime(timezone=True), comment, null=null)


def _now(name: str, comment: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"), comment=comment)


def _of_match(*, key: bool = False) -> Column[Any]:
    parent = ForeignKey("core.match.match_id")
    return Column("match_id", Text(), parent, nullable=False, primary_key=key, comment="The match.")


UPDATED = "When a cell of this row last changed (UTC)."
NUMBERS: TypeEngine[Any] = ARRAY(Double())

source_file = Table(
    "source_file",
    metadata,
    _key("file", Text(), "Path of the file below the data folder."),
    _column("sha256", Text(), "Digest of its bytes; unchanged bytes need no second reading."),
    _column("source", Text(), "Which reader understood it, e.g. football-data."),
    _column("rows_read", Integer(), "Rows that became records."),
    _column("rows_rejected", Integer(), "Rows that could not be used."),
    _now("read_at", "When it was last read (UTC)."),
    schema="raw",
    comment="Every file that was read.",
)

rejected_row = Table(
    "rejected_row",
    metadata,
    _key("file", Text(), "Path of the file below the data folder."),
    _key("line", Integer(), "Line in the file, counted from 1."),
    _key("reason", Text(), "Why the row could not be used."),
    _column("content", Text(), "What the row said, cut to 500 characters."),
    _now("first_seen_at", "When it was first met (UTC)."),
    _now("last_seen_at", "When it was last met (UTC)."),
    schema="raw",
    comment="Rows of the input that could not be used: nothing is dropped silently.",
)

match = Table(
    "match",
    metadata,
    _key("match_id", Text(), "Deterministic slug of league, date, home and away."),
    _column("sport", Text(), "Sport, e.g. football."),
    _column("league", Text(), "League code of the source, e.g. E0."),
    _column("season", Text(), "Season code, e.g. 1718 for 2017/18."),
    _column("rating_pool", Text(), "Leagues whose teams' ratings are comparable (one country's pyramid)."),
    _column("match_date", Date(), "Local date of the match."),
    _moment("kickoff", "Start of the match (UTC); null when only the date is known.", null=True),
    _column("home", Text(), "Team at home."),
    _column("away", Text(), "Team away."),
    _column("source", Text(), "Source that last wrote this row."),
    _now("updated_at", UPDATED),
    Index(None, "league", "season"),
    Index(None, "match_date"),
    schema="core",
    comment="Fixtures, played or to come.",
)

result = Table(
    "result",
    metadata,
    _of_match(key=True),
    _column("home_score", SmallInteger(), "Final score of the team at home."),
    _column("away_score", SmallInteger(), "Final score of the team away."),
    _moment("known_at", "First moment at which a feature may use it: midnight after the match date (UTC)."),
    _now("updated_at", UPDATED),
    schema="core",
    comment="Final scores.",
)


def _count(name: str, what: str) -> Column[Any]:
    return _column(name, SmallInteger(), f"{what}; null when the source has none, never a made-up zero.", null=True)


football_statistics = Table(
    "football_statistics",
    metadata,
    _of_match(key=True),
    _count("home_shots", "Shots of the team at home"),
    _count("away_shots", "Shots of the team away"),
    _count("home_shots_on_target", "Shots on target of the team at home"),
    _count("away_shots_on_target", "Shots on target of the team away"),
    _count("home_corners", "Corners of the team at home"),
    _count("away_corners", "Corners of the team away"),
    _count("home_yellow_cards", "Yellow cards of the team at home"),
    _count("away_yellow_cards", "Yellow cards of the team away"),
    _count("home_red_cards", "Red cards of the team at home"),
    _count("away_red_cards", "Red cards of the team away"),
    _now("updated_at", UPDATED),
    schema="core",
    comment="Counts that football sources add to a result.",
)

book = Table(
    "book",
    metadata,
    _key("match_id", Text(), "The match; that it exists is checked by write_batch, for a whole frame at once."),
    _key("market", Text(), "Market, e.g. 1x2 or over_under."),
    _key("line", Double(), "Line of the market, 0 where it has none; 2.5 goals for over_under."),
    _key("bookmaker", Text(), "Slug of the bookmaker, or market-average and market-maximum."),
    _key("phase", Text(), "pre_close: could still be bet on; close: the last price, a label and never a feature."),
    _column("prices", NUMBERS, "Decimal odds in the order of the market's selections; NaN where there is none."),
    _moment("taken_at", "When these prices were taken (UTC); of pre_close books: the decision time."),
    _column("flag", Text(), "Why this book should not be trusted, e.g. overround_high; null when it may.", null=True),
    _now("updated_at", UPDATED),
    CheckConstraint("phase IN ('pre_close', 'close')", name="phase"),
    schema="core",
    comment="Prices of one bookmaker for one line of a market at one time: the unit in which a margin exists.",
)

match_alias = Table(
    "match_alias",
    metadata,
    _key("source", Text(), "Source that names the match differently."),
    _key("external_id", Text(), "Its identifier there."),
    _of_match(),
    schema="core",
    comment="Identifiers of matches in other sources.",
)

team_alias = Table(
    "team_alias",
    metadata,
    _key("rating_pool", Text(), "Pool in which the alias holds."),
    _key("alias", Text(), "Another spelling."),
    _column("team", Text(), "The name used in core.match."),
    schema="core",
    comment="Other spellings of team names: kept as data, never guessed.",
)

training_snapshot = Table(
    "training_snapshot",
    metadata,
    _key("snapshot_hash", Text(), "Digest of the rows and columns."),
    _column("market", Text(), "Market it trains for."),
    _column("feature_service", Text(), "Feast feature service it was joined from."),
    _column("rows", Integer(), "Number of rows."),
    _column("columns", ARRAY(Text()), "Names of the columns, in order."),
    _column("path", Text(), "Where the file lies, below the platform's folder."),
    _now("created_at", "When it was made (UTC)."),
    schema="ml",
    comment="Training sets, by digest: a model names the one it was trained on.",
)

walk_forward_prediction = Table(
    "walk_forward_prediction",
    metadata,
    _key("run_id", Text(), "MLflow run of the candidate."),
    _key("market", Text(), "Market that was predicted."),
    _key("variant", Text(), "fundamentals, market_residual, or a baseline."),
    _key("match_id", Text(), "The match."),
    _column("probabilities", NUMBERS, "One for each selection, in order; they sum to 1."),
    _column("test_season", Text(), "Season that the model had not seen."),
    schema="ml",
    comment="Predictions of the walk-forward evaluation, each by a model that knew earlier seasons only.",
)

evaluation = Table(
    "evaluation",
    metadata,
    _key("run_id", Text(), "MLflow run of the candidate."),
    _key("market", Text(), "Market that was predicted."),
    _key("variant", Text(), "fundamentals, market_residual, or a baseline."),
    _column("metrics", JSONB(), "Log-loss, RPS, Brier, calibration, intervals, bets: by name."),
    _now("created_at", "When it was measured (UTC)."),
    schema="ml",
    comment="What the walk-forward evaluation measured.",
)

deployment = Table(
    "deployment",
    metadata,
    Column("id", BigInteger(), Identity(), primary_key=True, comment="Number of the deployment, growing."),
    _column("bento_tag", Text(), "Bento that it serves, name:version."),
    Column(
        "code",
        Text(),
        nullable=False,
        server_default="",
        comment="Digest of the Bento's code: workers swap models of the same code in place; other code starts anew.",
    ),
    _column("market_versions", JSONB(), "Model version for each market."),
    _column("status", Text(), "starting → healthy → current → retired; refused: failed its checks or was rolled back."),
    _column("reason", Text(), "Why it was refused or retired.", null=True),
    _column("known_answers", JSONB(), "Inputs with the answers that the service must give before it may go live."),
    _now("created_at", "When it was proposed (UTC)."),
    _moment("made_current_at", "When it last went live (UTC).", null=True),
    CheckConstraint(f"status IN ({', '.join(repr(state) for state in DEPLOYMENT_STATES)})", name="status"),
    Index("deployment_one_current", "status", unique=True, postgresql_where=text("status = 'current'")),
    schema="serving",
    comment="The log of deployments; at most one is current, and every worker follows it.",
)

worker = Table(
    "worker",
    metadata,
    _key("worker", Text(), "host:pid of the process."),
    _column("bento_tag", Text(), "Bento whose code it runs."),
    _column("code", Text(), "Digest of that code."),
    _column(
        "deployment_id", BigInteger(), "Deployment whose models it serves; null: those of its own Bento.", null=True
    ),
    _column("refused_id", BigInteger(), "Deployment that it refuses to serve now.", null=True),
    _column("reason", Text(), "Why it refused that one.", null=True),
    _now("started_at", "When it was ready (UTC)."),
    _now("seen_at", "When it last said so (UTC); long ago: it is dead."),
    schema="serving",
    comment="Processes of the prediction service, and what each of them serves.",
)

prediction_log = Table(
    "prediction_log",
    metadata,
    Column("id", BigInteger(), Identity(), primary_key=True, comment="Number of the prediction, growing."),
    _now("predicted_at", "When it was given (UTC)."),
    _column("request_id", Text(), "Request that asked for it."),
    _column("match_id", Text(), "The match; need not be in core.match yet."),
    _column("market", Text(), "Market that was predicted."),
    _column("variant", Text(), "Variant of the model that answered."),
    _column("model_version", Text(), "Version of the model that answered."),
    _column("bento_tag", Text(), "Bento that answered."),
    _column("probabilities", NUMBERS, "One for each selection, in order; they sum to 1."),
    _column("features", JSONB(none_as_null=True), "Features that it saw, where they are kept.", null=True),
    _moment("feature_time", "Time of the newest feature that it saw (UTC).", null=True),
    _moment("feature_read_at", "The online store's clock when the features were read (UTC).", null=True),
    _column("served_by", Text(), "Process that answered: host:pid."),
    Column(
        "role",
        Text(),
        nullable=False,
        server_default="champion",
        comment="champion: it was the answer; challenger: it was computed beside the answer, and nobody saw it.",
    ),
    CheckConstraint("role IN ('champion', 'challenger')", name="role"),
    Index(None, "match_id"),
    Index(None, "predicted_at"),
    schema="serving",
    comment="Every prediction that was served.",
)

prediction_outcome = Table(
    "prediction_outcome",
    metadata,
    Column(
        "prediction_id",
        BigInteger(),
        ForeignKey("serving.prediction_log.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        comment="The prediction.",
    ),
    _column("match_id", Text(), "The match."),
    _column("market", Text(), "Market that was predicted."),
    _column("outcome", SmallInteger(), "Index of the selection that won, counted from 0."),
    _moment("settled_at", "When the result was known (UTC)."),
    _column("log_loss", Double(), "Minus the natural log of the winning selection's probability."),
    _column("rps", Double(), "Ranked probability score (Epstein 1969), divided by selections - 1.", null=True),
    _column("brier", Double(), "Brier score (1950): squared error summed over the selections."),
    Index(None, "settled_at"),
    schema="serving",
    comment="Predictions with what became of them.",
)


def _offset_key() -> list[Column[Any]]:
    """Where a message stood: what makes it that message."""
    return [
        _key("epoch", SmallInteger(), "Which log of the topic, see stream.topic_log."),
        _key("partition", Integer(), "Partition of the topic."),
        _key("offset", BigInteger(), "Offset in the partition."),
    ]


def _landed() -> list[Column[Any]]:
    return [
        _moment("produced_at", "Timestamp of the message, given by its producer (UTC)."),
        _now("landed_at", "When it was landed (UTC)."),
    ]


topic_log = Table(
    "topic_log",
    metadata,
    _key("topic", Text(), "Name of the topic."),
    _key("epoch", SmallInteger(), "Counts the logs of this name from 1: a replaced one starts again at offset 0."),
    _column("cluster_id", Text(), "Cluster that holds the log."),
    _column("topic_id", Text(), "Identity of the topic in that cluster; empty where the broker tells none."),
    _now("accepted_at", "When this log was first read, or accepted in place of the one before (UTC)."),
    schema="stream",
    comment="Which log the offsets of a topic count in.",
)

position = Table(
    "position",
    metadata,
    _key("reader", Text(), "Who reads: lander or scorer."),
    _key("topic", Text(), "Name of the topic."),
    _key("partition", Integer(), "Partition of the topic."),
    _column("epoch", SmallInteger(), "Which log of the topic."),
    _column("next_offset", BigInteger(), "First offset that was not dealt with; changes with the rows, atomically."),
    _now("updated_at", "When it last moved (UTC)."),
    schema="stream",
    comment="How far each reader of a topic is. Kafka's own commits are for monitoring only.",
)

odds_tick = Table(
    "odds_tick",
    metadata,
    *_offset_key(),
    _column("match_id", Text(), "The match; need not be in core.match."),
    _column("bookmaker", Text(), "Slug of the bookmaker."),
    _column("market", Text(), "Market, e.g. 1x2 or over_under."),
    _column("line", Double(), "Line of the market, 0 where it has none."),
    _column("prices", NUMBERS, "Decimal odds in the order of the market's selections; NaN where there is none."),
    _column("lay", NUMBERS, "Prices of an exchange to lay at, likewise; null for bookmakers.", null=True),
    _column("trading", Text(), "open, suspended or closed."),
    _column("in_play", Boolean(), "Whether the match was under way."),
    _moment("taken_at", "When the source took these prices (UTC)."),
    _column("sequence", BigInteger(), "Orders the ticks of one book at one time."),
    _column("source", Text(), "Feed that told it."),
    _column("fixture", JSONB(none_as_null=True), "The match, where the feed tells it.", null=True),
    *_landed(),
    Index(None, "match_id", "taken_at"),
    Index("odds_tick_taken_at_brin", "taken_at", postgresql_using="brin"),
    Index("odds_tick_told_fixture", "match_id", postgresql_where=text("fixture IS NOT NULL")),
    schema="stream",
    comment="Every odds tick that was valid, exactly once.",
)

match_result = Table(
    "match_result",
    metadata,
    *_offset_key(),
    _column("match_id", Text(), "The match; need not be in core.match."),
    _column("status", Text(), "final or void."),
    _column("home_score", SmallInteger(), "Final score of the team at home; null if void.", null=True),
    _column("away_score", SmallInteger(), "Final score of the team away; null if void.", null=True),
    _column("statistics", JSONB(), "Counts by column of core.football_statistics."),
    _moment("finished_at", "When the match was over (UTC)."),
    _column("sequence", BigInteger(), "Orders results of one match of one time."),
    _column("source", Text(), "Feed that told it."),
    _column("fixture", JSONB(none_as_null=True), "The match, where the feed tells it.", null=True),
    *_landed(),
    Index(None, "match_id"),
    Index(None, "finished_at"),
    schema="stream",
    comment="Every result message that was valid, exactly once.",
)

prediction = Table(
    "prediction",
    metadata,
    *_offset_key(),
    _column("prediction_id", Text(), "The same for repeated publications of one prediction."),
    _column("match_id", Text(), "The match."),
    _column("market", Text(), "Market that was predicted."),
    _column("line", Double(), "Line of the market."),
    _column("probabilities", NUMBERS, "One for each selection; empty where no model answered."),
    _column("market_probabilities", NUMBERS, "Of the consensus, without margin; empty where there is none."),
    _column("best_prices", NUMBERS, "Highest trusted decimal odds; empty where nothing can be bet on."),
    _column("best_bookmakers", ARRAY(Text()), "Whose prices those are."),
    _column("edges", NUMBERS, "Probability times price minus 1; empty where nothing can be bet on."),
    _column("withheld", Text(), "Why something is empty.", null=True),
    _column("withheld_detail", Text(), "The same in one line.", null=True),
    _column("excluded", JSONB(), "Books that were left out: bookmaker, reason, detail."),
    _column("variant", Text(), "Variant of the model that answered.", null=True),
    _column("model_version", Text(), "Version of the model that answered.", null=True),
    _column("bento", Text(), "Bento that answered.", null=True),
    _column("tick_epoch", SmallInteger(), "Of the newest tick that it speaks for."),
    _column("tick_partition", Integer(), "Of the newest tick that it speaks for."),
    _column("tick_offset", BigInteger(), "Of the newest tick that it speaks for."),
    _moment("taken_at", "Time of that tick, as its source told it (UTC)."),
    _moment("scored_at", "When it was scored (UTC)."),
    *_landed(),
    Index(None, "match_id", "market", "scored_at"),
    schema="stream",
    comment="Every prediction that the scorer published; published again, it has a second row with its id.",
)

dead_letter = Table(
    "dead_letter",
    metadata,
    _key("topic", Text(), "Name of the topic that it came from."),
    *_offset_key(),
    _column("reason", Text(), "What is wrong with it, one word."),
    _column("detail", Text(), "The same in one line: where, what, how to mend it."),
    _column("key", LargeBinary(), "Its key, as sent.", null=True),
    _column("payload", LargeBinary(), "Its bytes, as sent.", null=True),
    _column("headers", JSONB(), "Its headers: name and hexadecimal value."),
    *_landed(),
    _moment("replayed_at", "When it was last sent again (UTC).", null=True),
    Index(None, "landed_at"),
    schema="stream",
    comment="Every message that could not be used, with the reason and its original bytes.",
)

current_book = Table(
    "current_book",
    metadata,
    _key("match_id", Text(), "The match."),
    _key("market", Text(), "Market."),
    _key("line", Double(), "Line of the market."),
    _key("bookmaker", Text(), "Slug of the bookmaker."),
    _column("prices", NUMBERS, "Decimal odds in the order of the market's selections; NaN where there is none."),
    _column("lay", NUMBERS, "Prices of an exchange to lay at, likewise; null for bookmakers.", null=True),
    _column("trading", Text(), "open, suspended or closed."),
    _column("in_play", Boolean(), "Whether the match was under way."),
    _moment("taken_at", "When the source took these prices (UTC)."),
    _column("sequence", BigInteger(), "Orders the ticks of one book at one time."),
    _column("tick_epoch", SmallInteger(), "Of the tick that said so."),
    _column("tick_partition", Integer(), "Of the tick that said so."),
    _column("tick_offset", BigInteger(), "Of the tick that said so."),
    _now("updated_at", UPDATED),
    schema="stream",
    comment="The scorer's state: the newest book of each bookmaker; changes with its positions, atomically.",
)

planned_range = Table(
    "planned_range",
    metadata,
    Column("id", BigInteger(), Identity(), primary_key=True, comment="Number of the range, growing."),
    _column("topic", Text(), "Name of the topic."),
    _column("epoch", SmallInteger(), "Which log of the topic."),
    _column("partition", Integer(), "Partition of the topic."),
    _column("from_offset", BigInteger(), "First offset of the range."),
    _column("to_offset", BigInteger(), "First offset behind it."),
    _column("run_key", Text(), "Key of the Dagster run that was asked to deal with it; shared by ranges of one run."),
    _now("planned_at", "When it was planned (UTC)."),
    _moment("done_at", "When a run had dealt with it (UTC).", null=True),
    Index("planned_range_starts", "topic", "epoch", "partition", "from_offset", unique=True),
    Index(None, "run_key"),
    CheckConstraint("from_offset < to_offset", name="not_empty"),
    schema="stream",
    comment="Which landed offsets were given to which micro-batch: no range is lost or given twice.",
)

reader = Table(
    "reader",
    metadata,
    _key("worker", Text(), "host:pid of the process."),
    _key("reader", Text(), "What it is: lander or scorer."),
    _column("topics", ARRAY(Text()), "Names of the topics that it reads."),
    _column("partitions", JSONB(), "What it owns: topic to list of partitions."),
    _column("done", BigInteger(), "Messages that it has dealt with since its start."),
    _column("lag", BigInteger(), "Messages behind it that wait, in what it owns."),
    _column("message", Text(), "What is wrong, in one line; null when all is well.", null=True),
    _now("started_at", "When it started (UTC)."),
    _now("seen_at", "When it last said so (UTC); long ago: it is dead."),
    schema="stream",
    comment="Landers and scorers that are alive, and what they own.",
)
