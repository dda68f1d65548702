"""The training table of one market: features as they were known, outcomes, and the closing line as a label.

`Dataset` is the contract between features and models. It refuses a table whose features are later than the odds
that they would be bet against, or that lets a closing column in among the features.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.modelling.markets import ModelledMarket

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NOT_FEATURES = frozenset(
    {"match_id", "event_timestamp", "created_at", "last_input_at", "decided_at", "match_date", "season", "outcome"}
)


class LeakError(ValueError):
    """A feature knows something that was not known when the odds were taken."""


@dataclass(frozen=True)
class Dataset:
    """One row a match, in order of date.

    Columns of `frame`: match_id, league, season, match_date, event_timestamp (decision time), last_input_at, outcome
    (index of the winning selection), the market's margin-free probabilities before the close, the closing line's,
    and the strength features named in `strength`. `left_out` counts, by season and reason, the matches without a row.
    """

    market: ModelledMarket
    frame: pd.DataFrame
    strength: tuple[str, ...]
    left_out: Mapping[str, Mapping[str, int]]

    def __post_init__(self) -> None:
        check_point_in_time(self.frame, self.strength, self.market)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def outcomes(self) -> Ints:
        return self.frame["outcome"].to_numpy(dtype=np.int64)

    @cached_property
    def market_probabilities(self) -> Floats:
        return self.frame[self.market.market_columns].to_numpy(dtype=np.float64)

    @cached_property
    def closing_probabilities(self) -> Floats:
        """(n, k), NaN where no closing line is known."""
        return self.frame[self.market.closing_columns].to_numpy(dtype=np.float64)

    @cached_property
    def dates(self) -> npt.NDArray[np.datetime64]:
        return self.frame["match_date"].to_numpy(dtype="datetime64[D]")

    @property
    def seasons(self) -> list[str]:
        """Season codes in order of time."""
        return [str(season) for season in self.frame.groupby("season")["match_date"].min().sort_values().index]

    @property
    def dropped(self) -> dict[str, int]:
        """How many matches have no row, by reason."""
        reasons = dict.fromkeys(reason for counts in self.left_out.values() for reason in counts)
        return {reason: sum(counts.get(reason, 0) for counts in self.left_out.values()) for reason in reasons}

    def before_season(self, season: str) -> Dataset:
        """All rows whose result was known when the first odds of `season` were taken.

        Seasons of different leagues overlap, so the date decides and not the season's name.
        """
        first_odds = self.frame.loc[self.frame["season"] == season, "event_timestamp"].min()
        known_at = pd.to_datetime(self.frame["match_date"]).dt.tz_localize("UTC") + pd.Timedelta(days=1)
        return Dataset(self.market, self.frame[known_at <= first_odds].reset_index(drop=True), self.strength, {})

    def of_seasons(self, seasons: Collection[str]) -> Dataset:
        """The rows of these seasons, in order of date."""
        frame = self.frame[self.frame["season"].isin(list(seasons))].reset_index(drop=True)
        left_out = {season: counts for season, counts in self.left_out.items() if season in seasons}
        return Dataset(self.market, frame, self.strength, left_out)


def assemble(
    market: ModelledMarket,
    matches: pd.DataFrame,
    results: pd.DataFrame,
    strength: pd.DataFrame,
    prices: pd.DataFrame,
    closing: pd.DataFrame,
) -> Dataset:
    """Join features, outcomes and labels; matches without a result or a price before the close are dropped, counted.

    Args:
        strength: table of `feature_tables.match_strength`.
        prices: table of `feature_tables.match_market`.
        closing: table of `feature_tables.closing_line`.
    """
    prices = prices.rename(columns={"event_timestamp": "odds_taken_at"})
    frame = matches[["match_id", "season", "match_date"]].merge(strength, on="match_id")
    frame = frame.merge(results[["match_id", "home_score", "away_score"]], on="match_id", how="left")
    frame = frame.merge(
        prices[["match_id", "odds_taken_at", *market.market_columns, *market.price_columns]], on="match_id", how="left"
    )
    frame = frame.merge(closing[["match_id", *market.closing_columns]], on="match_id", how="left")
    frame = frame.rename(columns={"event_timestamp": "feature_time", "odds_taken_at": "event_timestamp"})
    return from_joined(market, frame, strength_features(strength))


def strength_features(table: pd.DataFrame) -> tuple[str, ...]:
    """Names of the strength features in a strength table: every column that is not a key or a time."""
    return tuple(column for column in table.columns if column not in NOT_FEATURES)


def from_joined(market: ModelledMarket, frame: pd.DataFrame, strength: tuple[str, ...]) -> Dataset:
    """A data set from a table that already has features, scores and labels side by side."""
    no_result = frame["home_score"].isna()
    no_price = frame[market.market_columns].isna().any(axis=1)
    reasons = {"no_result": no_result, "no_price_before_close": no_price & ~no_result}
    counts = pd.DataFrame(reasons).groupby(frame["season"]).sum()
    left_out = {str(season): {str(reason): int(n) for reason, n in row.items()} for season, row in counts.iterrows()}
    kept = frame[~no_result & ~no_price].sort_values(["match_date", "match_id"], kind="stable").reset_index(drop=True)
    scores = kept[["home_score", "away_score"]].to_numpy(dtype=np.int64)
    kept = kept.drop(columns=["home_score", "away_score"]).assign(outcome=market.settle(scores[:, 0], scores[:, 1]))
    return Dataset(market, kept, strength, left_out)


def check_point_in_time(frame: pd.DataFrame, strength: tuple[str, ...], market: ModelledMarket) -> None:
    """Refuse features that are later than the odds, and closing prices among the features.

    Raises:
        LeakError: names the columns or the number of rows, and the first match.
    """
    closing = [name for name in strength if name.startswith("close_")]
    if closing:
        raise LeakError(f"closing prices are labels, not features: {', '.join(closing)}")
    for column in ("feature_time", "last_input_at"):
        if column not in frame:
            continue
        late = frame[frame[column] > frame["event_timestamp"]]
        if len(late):
            first = late.iloc[0]
            raise LeakError(
                f"{len(late)} rows of {market.market} have {column} after the odds they are bet against, "
                f"first {first['match_id']}: {first[column]} > {first['event_timestamp']}"
            )
    copies = [
        name
        for name, column in zip(market.market_columns, market.closing_columns, strict=True)
        if _same(frame, name, column)
    ]
    if copies:
        raise LeakError(f"the closing line stands in the place of the price before the close: {', '.join(copies)}")


def _same(frame: pd.DataFrame, early: str, late: str) -> bool:
    """Prices move before the close (measured: all but 4 %): columns that agree on most matches are one, copied."""
    if early not in frame or late not in frame:
        return False
    both = frame[[early, late]].dropna()
    return len(both) >= 50 and bool(np.isclose(both[early], both[late], atol=1e-12).mean() > 0.5)
