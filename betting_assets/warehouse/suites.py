"""What is expected of each table: rules as data, and the query or the frame columns that make them easy to state.

Ranges are those of plausible data, not of the samples at hand; `mostly` leaves room for what real feeds do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from betting_assets.betting.market import prices_matrix
from betting_assets.betting.odds import overround
from betting_assets.sources.records import MAX_PRICE, SELECTIONS, Market
from betting_assets.warehouse.rules import (
    Rule,
    between,
    different,
    inside,
    key,
    matches,
    not_later,
    not_null,
    null,
    one_of,
    row_count,
    unique,
)

Frame = pd.DataFrame


@dataclass(frozen=True)
class Suite:
    """The rules of one table.

    rules    hold for the rows in PostgreSQL and for a frame of the same columns
    joined   hold in PostgreSQL only, because they need columns of another table
    derived  columns that only exist for the rules: SQL expressions by name, over the table `t` and what `join` adds
    derive   adds the derived columns of `rules` to a frame
    """

    rules: tuple[Rule, ...]
    joined: tuple[Rule, ...] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    join: str = ""
    derive: Callable[[Frame], Frame] | None = None

    def query(self, table: str) -> str:
        """The SELECT that is checked in place of the plain table."""
        columns = ", ".join(["t.*", *(f"{expression} AS {name}" for name, expression in self.derived.items())])
        return f"SELECT {columns} FROM {table} t {self.join}"  # noqa: S608 - all parts are constants of this file


SLUG = r"^[a-z0-9_.-]+$"
FLAGS = ("incomplete", "overround_high", "overround_below_one")
MODELLED = (Market.MATCH_RESULT, Market.OVER_UNDER)
BEST_PRICES = "market-maximum"
"""Pseudo book of every bookmaker's best price: its overround is near zero, often below."""
EXACT = 1e-6
"""Room for floating point: weighted means of 3 points that come to 3.0000000000000004, probabilities that sum to 1."""


def _with_kickoff_days(frame: Frame) -> Frame:
    day = frame["kickoff"].dt.tz_convert(None).dt.normalize()
    return frame.assign(kickoff_days=(day - pd.to_datetime(frame["match_date"])).dt.days)


MATCH = Suite(
    rules=(
        row_count(),
        not_null("match_id", "sport", "league", "season", "rating_pool", "match_date", "home", "away"),
        unique("match_id"),
        matches(SLUG, "match_id", "sport"),
        matches(r"^[0-9]{4}$", "season"),
        different("home", "away"),
        # The date is local, the kick-off UTC: they differ by a day at most.
        between(-1, 1, "kickoff_days"),
    ),
    derived={"kickoff_days": "(kickoff AT TIME ZONE 'UTC')::date - match_date"},
    derive=_with_kickoff_days,
)


def _with_known_hour(frame: Frame) -> Frame:
    known = frame["known_at"]
    return frame.assign(known_hour=(known - known.dt.normalize()).dt.total_seconds() / 3600)


RESULT = Suite(
    rules=(
        row_count(),
        not_null("match_id", "home_score", "away_score", "known_at"),
        unique("match_id"),
        between(0, 200, "home_score", "away_score"),
        between(0, 0, "known_hour"),
    ),
    joined=(not_null("match_date"), between(1, 1, "days_until_known")),
    derived={
        "known_hour": "extract(epoch FROM (known_at AT TIME ZONE 'UTC')::time)::float8 / 3600",
        "match_date": "m.match_date",
        "days_until_known": "(known_at AT TIME ZONE 'UTC')::date - m.match_date",
    },
    join="LEFT JOIN core.match m USING (match_id)",
    derive=_with_known_hour,
)


_COUNTS = {market.value: len(selections) for market, selections in SELECTIONS.items()}
_COUNT_CASES = " ".join(f"WHEN '{market}' THEN {count}" for market, count in _COUNTS.items())


def _with_book_facts(frame: Frame) -> Frame:
    """Per book: how many prices its market lacks or has too many, the lowest, the highest, and the overround."""
    groups = frame.groupby("market", sort=False)
    parts = [_book_facts(books, _COUNTS.get(str(name), 2)) for name, books in groups]
    return pd.concat(parts) if parts else frame.assign(price_count_off=0, lowest=np.nan, highest=np.nan, overround=1.0)


def _book_facts(books: Frame, selections: int) -> Frame:
    off = books["prices"].map(len) - selections
    facts = books.assign(price_count_off=off, lowest=np.nan, highest=np.nan, overround=np.nan)
    whole = (off == 0).to_numpy()
    prices = pd.DataFrame(prices_matrix(books[whole], selections), index=books.index[whole])
    facts.loc[whole, "lowest"], facts.loc[whole, "highest"] = prices.min(axis=1), prices.max(axis=1)
    trusted = prices[books.loc[whole, "flag"].isna() & (books.loc[whole, "bookmaker"] != BEST_PRICES)]
    facts.loc[trusted.index, "overround"] = overround(trusted.to_numpy())
    return facts


BOOK = Suite(
    rules=(
        row_count(),
        not_null("match_id", "bookmaker", "market", "line", "phase", "prices", "taken_at"),
        key("match_id", "market", "line", "bookmaker", "phase"),
        matches(SLUG, "bookmaker"),
        one_of("market", tuple(market.value for market in SELECTIONS)),
        one_of("phase", ("pre_close", "close")),
        one_of("flag", FLAGS),
        null("flag", mostly=0.9),
        between(0, 0, "price_count_off"),
        inside(1, MAX_PRICE + EXACT, "lowest", "highest"),
        between(-0.03, 0.25, "overround", mostly=0.999),
    ),
    joined=(not_null("settles_by"), not_later("taken_at", "settles_by")),
    derived={
        "settles_by": "coalesce(m.kickoff, (m.match_date + 1)::timestamp AT TIME ZONE 'UTC')",
        "price_count_off": f"cardinality(t.prices) - CASE t.market {_COUNT_CASES} ELSE 2 END",
        "lowest": "p.lowest",
        "highest": "p.highest",
        "overround": f"CASE WHEN t.flag IS NULL AND t.bookmaker <> '{BEST_PRICES}' THEN p.overround END",
    },
    join="""
        LEFT JOIN core.match m USING (match_id)
        CROSS JOIN LATERAL (
            SELECT min(price) AS lowest, max(price) AS highest, sum(1 / price) - 1 AS overround
            FROM unnest(t.prices) AS price WHERE price <> 'NaN'
        ) p""",
    derive=_with_book_facts,
)

_KEYED = (
    row_count(),
    not_null("match_id", "event_timestamp"),
    key("match_id", "event_timestamp"),
)
_BEFORE_THE_DECISION = not_later("last_input_at", "event_timestamp")
_RATINGS = (
    # Newcomers have a rating too: only an undecided match has none.
    not_null("*_elo", "*_elo_margin", "*_pi_home", "*_pi_away", mostly=0.99),
    between(500, 2500, "home_elo", "away_elo", "home_elo_margin", "away_elo_margin"),
    between(-6, 6, "*_pi_home", "*_pi_away"),
    between(-1500, 1500, "elo_difference", "elo_margin_difference"),
    between(0, 5000, "home_matches", "away_matches"),
)
_FORM = (
    # Null before a team's first match.
    not_null("*_goals_for_*", "*_goals_against_*", "*_points_*", mostly=0.8),
    between(0, 30, "*_goals_for_*", "*_goals_against_*"),
    between(0, 100, "*_shots_for_*", "*_shots_against_*", "*_on_target_for_*", "*_on_target_against_*"),
    between(-EXACT, 3 + EXACT, "home_points_*", "away_points_*"),
    between(0, 5000, "*_days_since_match"),
)

TEAM_RATINGS = Suite(rules=(*_KEYED, _BEFORE_THE_DECISION, *_RATINGS))
TEAM_FORM = Suite(rules=(*_KEYED, _BEFORE_THE_DECISION, *_FORM))
MATCH_STRENGTH = Suite(
    rules=(
        *_KEYED,
        _BEFORE_THE_DECISION,
        not_null("league", "month"),
        between(1, 12, "month"),
        *_RATINGS,
        *_FORM,
    )
)


_SUMS = {f"sum_{market.value}": [f"market_{name}" for name in SELECTIONS[market]] for market in MODELLED}


def _with_probability_sums(frame: Frame) -> Frame:
    sums = {name: frame[columns].astype("float64").sum(axis=1, skipna=False) for name, columns in _SUMS.items()}
    return frame.assign(**sums)


MATCH_MARKET = Suite(
    rules=(
        *_KEYED,
        inside(0, 1, *(column for columns in _SUMS.values() for column in columns)),
        between(1 - EXACT, 1 + EXACT, *_SUMS),
        not_null(*_SUMS["sum_1x2"], mostly=0.9),
        inside(1, MAX_PRICE + EXACT, "market_*_price", "market_*_best_price"),
        # Null in rows that a stream pushed before there was the column.
        one_of("market_*_suspended", (0.0, 1.0)),
        between(-0.05, 0.25, "market_*_overround", mostly=0.99),
    ),
    derived={name: " + ".join(columns) for name, columns in _SUMS.items()},
    derive=_with_probability_sums,
)

SUITES: dict[str, Suite] = {
    "core.match": MATCH,
    "core.result": RESULT,
    "core.book": BOOK,
    "features.team_ratings": TEAM_RATINGS,
    "features.team_form": TEAM_FORM,
    "features.match_strength": MATCH_STRENGTH,
    "features.match_market": MATCH_MARKET,
    "features.market_consensus": MATCH_MARKET,
}
"""Suites by schema.table."""
