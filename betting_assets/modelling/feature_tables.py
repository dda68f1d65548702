"""From canonical frames to the two feature tables: what could be known of each match when its odds were taken.

`match_strength` (ratings, form, league) and `match_market` (margin-free and best prices before the close) are keyed by
match_id and event_timestamp, the decision time. Closing prices have their own table, which holds labels only.
"""

from __future__ import annotations

import pandas as pd

from betting_assets.betting.form import team_form
from betting_assets.betting.goal_model import goal_forecasts
from betting_assets.betting.market import best_prices, market_consensus
from betting_assets.betting.odds import MarginMethod
from betting_assets.betting.ratings import team_ratings
from betting_assets.modelling.markets import MARKETS, ModelledMarket

KEYS = ["match_id", "event_timestamp"]


def first_quotes(books: pd.DataFrame) -> pd.Series:
    """When the first price before the close was taken, by match_id."""
    early = books.loc[books["phase"] == "pre_close"].groupby("match_id")["taken_at"].min()
    return pd.to_datetime(early, utc=True)


def decision_times(matches: pd.DataFrame, first_quoted: pd.Series) -> pd.Series:
    """The decision time of each match, aligned with `matches`: when its first price before the close was taken.

    The earliest price counts, so that no feature is later than any price. Without a price it is the midnight (UTC)
    that begins the match date, so that results of that date stay unknown.

    Args:
        first_quoted: UTC times by match_id, as from `first_quotes`.
    """
    midnight = pd.to_datetime(matches["match_date"]).dt.tz_localize("UTC")
    times = pd.to_datetime(matches["match_id"].map(first_quoted), utc=True)
    return times.fillna(midnight).rename("event_timestamp")


def ratings_table(matches: pd.DataFrame, results: pd.DataFrame, decided_at: pd.Series) -> pd.DataFrame:
    """Pi and Elo ratings of both teams at decision time."""
    ratings = team_ratings(matches, results, decided_at)
    ratings.insert(1, "event_timestamp", decided_at.to_numpy())
    ratings["event_timestamp"] = pd.to_datetime(ratings["event_timestamp"], utc=True)
    return ratings


def form_table(
    matches: pd.DataFrame, results: pd.DataFrame, statistics: pd.DataFrame, decided_at: pd.Series
) -> pd.DataFrame:
    """Exponentially weighted form of both teams, and the goals expected of them, at decision time."""
    form = team_form(matches, results, statistics, decided_at)
    form = form.join(goal_forecasts(matches, results, statistics, decided_at).drop(columns="match_id"))
    form.insert(1, "event_timestamp", decided_at.to_numpy())
    form["event_timestamp"] = pd.to_datetime(form["event_timestamp"], utc=True)
    return form


def match_strength(matches: pd.DataFrame, ratings: pd.DataFrame, form: pd.DataFrame) -> pd.DataFrame:
    """Ratings and form side by side, with the league, the month and the time of the newest input."""
    context = matches[["match_id", "league"]].assign(month=pd.to_datetime(matches["match_date"]).dt.month)
    joined = ratings.merge(form.drop(columns="event_timestamp"), on="match_id", suffixes=("", "_form"))
    joined["last_input_at"] = joined[["last_input_at", "last_input_at_form"]].max(axis=1)
    return joined.drop(columns="last_input_at_form").merge(context, on="match_id")


def match_market(books: pd.DataFrame, *, reference: str, method: MarginMethod) -> pd.DataFrame:
    """Margin-free market probabilities before the close, every modelled market side by side.

    Beside them stands what a bet would have been paid at and whether one could be placed: for those who ask what is of
    value, not for models. No best price is later than the row. No source of books tells of a suspension: 0.0.
    """
    table = _consensus_of_all_markets(books, "pre_close", "market_", reference, method)
    times = table.set_index("match_id")["event_timestamp"]
    best = [_best_prices(books, spec, times) for spec in MARKETS.values()]
    suspended = dict.fromkeys((spec.suspended_column for spec in MARKETS.values()), 0.0)
    return pd.concat([table, *(prices.reset_index(drop=True) for prices in best)], axis=1).assign(**suspended)


def _best_prices(books: pd.DataFrame, spec: ModelledMarket, until: pd.Series) -> pd.DataFrame:
    return best_prices(
        books,
        market=spec.market.value,
        line=spec.line,
        phase="pre_close",
        selections=spec.selections,
        prefix="market_",
        until=until,
    )


def closing_line(books: pd.DataFrame, *, reference: str, method: MarginMethod) -> pd.DataFrame:
    """Margin-free closing probabilities. Labels for evaluation and closing-line value; never features."""
    table = _consensus_of_all_markets(books, "close", "close_", reference, method)
    return table.drop(columns=["event_timestamp"])


def _consensus_of_all_markets(
    books: pd.DataFrame, phase: str, prefix: str, reference: str, method: MarginMethod
) -> pd.DataFrame:
    tables = [
        market_consensus(
            books,
            market=spec.market.value,
            line=spec.line,
            phase=phase,
            selections=spec.selections,
            prefix=prefix,
            reference=reference,
            method=method,
        )
        for spec in MARKETS.values()
    ]
    taken = pd.concat([table.pop("taken_at") for table in tables], axis=1)
    joined = pd.concat(tables, axis=1)
    flags = [column for column in joined.columns if column.endswith("_fallback")]
    joined[flags] = joined[flags].astype("boolean")
    joined.insert(0, "event_timestamp", pd.to_datetime(taken.max(axis=1), utc=True))
    return joined.rename_axis("match_id").reset_index()
