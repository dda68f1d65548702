"""Simulated football with known truth: seasons, results, statistics and prices in the records of every other source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from betting_assets.sources import times
from betting_assets.sources.batch import Batch, frame
from betting_assets.sources.bookmakers import MARKET_AVERAGE, MARKET_MAXIMUM
from betting_assets.sources.quotes import book_flags
from betting_assets.sources.records import Market, Phase, match_id, slug
from betting_assets.sources.simulation import calendar, goals, prices
from betting_assets.sources.simulation.names import team_names
from betting_assets.sources.simulation.strengths import Strengths

Floats = NDArray[np.float64]

_AVERAGE_GOALS = np.log(1.22)
_HOME_ADVANTAGE = (0.22, 0.04)
"""Log goals: mean and deviation between leagues."""
_AFTER_RELEGATION = 3
_WITHOUT_STATISTICS = 0.003


@dataclass(frozen=True)
class SimulatorConfig:
    """A world is determined by its config. `teams` is even; the first season starts in August of `start_year`.

    ValueError for a size that no calendar holds.
    """

    seed: int = 20_240_817
    leagues: tuple[str, ...] = ("SIM1", "SIM2", "SIM3")
    seasons: int = 6
    teams: int = 20
    start_year: int = 2019
    bookmakers: tuple[prices.Bookmaker, ...] = prices.BOOKMAKERS

    def __post_init__(self) -> None:
        if self.teams % 2 or not 4 <= self.teams <= calendar.MOST_ROUNDS // 2:
            raise ValueError(f"teams must be even and 4 to {calendar.MOST_ROUNDS // 2}, got {self.teams}")
        if not (self.leagues and self.bookmakers and self.seasons > 0):
            raise ValueError("a world needs at least one league, one season and one bookmaker")

    @property
    def season_codes(self) -> list[str]:
        return [times.season_code(self.start_year + number) for number in range(self.seasons)]


@dataclass(frozen=True)
class SimulatedWorld:
    """`truth` has a row a match: match_id, p_home, p_draw, p_away, p_over, p_under (2.5 goals), home_intensity,
    away_intensity (expected goals before the Dixon-Coles correction)."""

    batch: Batch
    truth: pd.DataFrame


@dataclass(frozen=True)
class _Season:
    matches: pd.DataFrame
    results: pd.DataFrame
    statistics: pd.DataFrame
    books: pd.DataFrame
    truth: pd.DataFrame


def simulate(config: SimulatorConfig | None = None) -> SimulatedWorld:
    """All seasons of all leagues, each match with a result; the same config gives the same world."""
    config = config or SimulatorConfig()
    rng = np.random.default_rng(config.seed)
    relegated = min(_AFTER_RELEGATION, config.teams // 4)
    strengths = Strengths.start(len(config.leagues), config.teams, 2 * relegated, rng)
    advantage = rng.normal(*_HOME_ADVANTAGE, len(config.leagues))
    names = [team_names(config.teams + 2 * relegated, number) for number in range(len(config.leagues))]
    seasons = [
        _season(config, config.start_year + number, strengths, advantage, names, relegated, rng)
        for number in range(config.seasons)
    ]
    batch = Batch(
        pd.concat([season.matches for season in seasons], ignore_index=True),
        pd.concat([season.results for season in seasons], ignore_index=True),
        pd.concat([season.statistics for season in seasons], ignore_index=True),
        pd.concat([season.books for season in seasons], ignore_index=True),
    )
    return SimulatedWorld(batch, pd.concat([season.truth for season in seasons], ignore_index=True))


def _season(
    config: SimulatorConfig,
    year: int,
    strengths: Strengths,
    advantage: Floats,
    names: list[list[str]],
    relegated: int,
    rng: np.random.Generator,
) -> _Season:
    """One season of every league, (leagues × rounds × matches) rows; then the last clubs of each table go down."""
    fixtures = calendar.double_round_robin(config.teams)
    rounds, matches_a_round, _ = fixtures.shape
    leagues = np.arange(len(config.leagues))[:, None, None]
    path = strengths.season(rounds, rng)
    places = rng.permuted(np.tile(np.arange(config.teams), (len(config.leagues), 1)), axis=1)
    place_home, place_away = places[:, fixtures[..., 0]], places[:, fixtures[..., 1]]
    home, away = strengths.order[leagues, place_home], strengths.order[leagues, place_away]
    attack, defence = path[..., 0].transpose(1, 0, 2), path[..., 1].transpose(1, 0, 2)
    week = np.arange(rounds)[None, :, None]
    home_intensity = np.exp(
        _AVERAGE_GOALS + advantage[:, None, None] + attack[leagues, week, home] - defence[leagues, week, away]
    ).ravel()
    away_intensity = np.exp(_AVERAGE_GOALS + attack[leagues, week, away] - defence[leagues, week, home]).ravel()
    matrix = goals.score_matrix(home_intensity, away_intensity)
    home_goals, away_goals = goals.draw_scores(matrix, rng)

    slots = [calendar.season_slots(rounds, matches_a_round, year, rng) for _ in config.leagues]
    matches = _matches(config, year, slots, names, home.reshape(len(names), -1), away.reshape(len(names), -1))
    ids = matches["match_id"]
    known_at = times.known_at(matches["match_date"])
    results = {"match_id": ids, "home_score": home_goals, "away_score": away_goals, "known_at": known_at}
    truth = pd.DataFrame(
        goals.outcome_probabilities(matrix), columns=["p_home", "p_draw", "p_away", "p_over", "p_under"]
    )
    truth.insert(0, "match_id", ids)
    season = _Season(
        matches,
        frame("results", results),
        _statistics(ids, (home_goals, away_goals), (home_intensity, away_intensity), rng),
        _books(config, matches, home_intensity, away_intensity, rng),
        truth.assign(home_intensity=home_intensity, away_intensity=away_intensity),
    )
    points = np.zeros((len(config.leagues), config.teams))
    for place, difference in ((place_home, home_goals - away_goals), (place_away, away_goals - home_goals)):
        won = (3 * (difference > 0) + (difference == 0)).reshape(place.shape)
        np.add.at(points, (np.broadcast_to(leagues, place.shape), place), won)
    strengths.replace(points, relegated, rng)
    return season


def _matches(
    config: SimulatorConfig,
    year: int,
    slots: list[tuple[list[Any], NDArray[np.int_]]],
    names: list[list[str]],
    home: NDArray[np.intp],
    away: NDArray[np.intp],
) -> pd.DataFrame:
    size = home.shape[1]
    dates = [date for days, _ in slots for date in days]
    leagues = [code for code in config.leagues for _ in range(size)]
    homes = [clubs[club] for clubs, row in zip(names, home.tolist(), strict=True) for club in row]
    aways = [clubs[club] for clubs, row in zip(names, away.tolist(), strict=True) for club in row]
    match_date = pd.Series(dates, dtype="datetime64[ns]")
    clock = pd.Series(pd.to_timedelta(np.concatenate([minutes for _, minutes in slots]), unit="min"))
    columns = {
        "match_id": [match_id(*key) for key in zip(leagues, dates, homes, aways, strict=True)],
        "sport": ["football"] * len(dates),
        "league": leagues,
        "season": [times.season_code(year)] * len(dates),
        "rating_pool": [slug(code) for code in leagues],
        "match_date": match_date,
        "kickoff": times.kickoff_utc(match_date, clock),
        "home": homes,
        "away": aways,
    }
    return frame("matches", columns)


def _statistics(
    ids: pd.Series[str], scores: tuple[Any, Any], intensities: tuple[Floats, Floats], rng: np.random.Generator
) -> pd.DataFrame:
    """Counts of both sides; a few matches have none, as awarded matches have in real files."""
    columns: dict[str, Any] = {"match_id": ids}
    for side, score, intensity in zip(("home", "away"), scores, intensities, strict=True):
        drawn = goals.draw_statistics(score, intensity, rng)
        columns |= {f"{side}_{what}": count for what, count in drawn.items()}
    table = frame("statistics", columns)
    return table[rng.random(len(table)) >= _WITHOUT_STATISTICS].reset_index(drop=True)


def _books(
    config: SimulatorConfig, matches: pd.DataFrame, home: Floats, away: Floats, rng: np.random.Generator
) -> pd.DataFrame:
    """Early and closing books of all bookmakers, the average and the maximum, for 1x2 and over/under 2.5."""
    slugs = [book.slug for book in config.bookmakers] + [MARKET_AVERAGE, MARKET_MAXIMUM]
    moments = (
        times.pre_close_taken_at(matches["match_date"], matches["kickoff"]),
        times.close_taken_at(matches["match_date"], matches["kickoff"]),
    )
    parts: list[pd.DataFrame] = []
    for opinion, phase, taken_at in zip(prices.opinions(home, away, rng), Phase, moments, strict=True):
        probabilities = goals.outcome_probabilities(goals.score_matrix(*opinion))
        for market, line, columns in ((Market.MATCH_RESULT, 0.0, slice(0, 3)), (Market.OVER_UNDER, 2.5, slice(3, 5))):
            odds = prices.with_market(prices.quote(probabilities[:, columns], config.bookmakers, rng))
            odds = prices.with_mistakes(odds, rng)
            flags = [book_flags(odds[:, number], market, name) for number, name in enumerate(slugs)]
            size = len(matches) * len(slugs)
            rows = {
                "match_id": np.repeat(matches["match_id"].to_numpy(), len(slugs)),
                "bookmaker": np.tile(np.array(slugs, dtype=object), len(matches)),
                "market": np.full(size, market.value, dtype=object),
                "line": np.full(size, line),
                "phase": np.full(size, phase.value, dtype=object),
                "prices": odds.reshape(size, -1).tolist(),
                "taken_at": taken_at.repeat(len(slugs)).reset_index(drop=True),
                "flag": np.column_stack(flags).ravel(),
            }
            parts.append(frame("books", rows))
    return pd.concat(parts, ignore_index=True)
