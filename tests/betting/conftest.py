"""A small invented world: two divisions of one country, teams that move between them, gaps in what is known."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)  # a shared machine may be slow; no test is about time
settings.load_profile("no_deadline")


@dataclass(frozen=True)
class World:
    matches: pd.DataFrame
    results: pd.DataFrame
    statistics: pd.DataFrame
    decided_at: pd.Series

    def shuffled(self, seed):
        """The same facts, rows of every frame in another order; the index of matches still tells them apart."""
        matches = self.matches.sample(frac=1.0, random_state=seed)
        return World(
            matches,
            self.results.sample(frac=1.0, random_state=seed + 1),
            self.statistics.sample(frac=1.0, random_state=seed + 2),
            self.decided_at.loc[matches.index],
        )

    def with_results(self, results):
        return replace(self, results=results)


def _world(seed=0, seasons=2, teams=6):
    rng = np.random.default_rng(seed)
    names = [f"Town {i}" for i in range(2 * teams)]
    rows = []
    for season in range(seasons):
        divisions = {"N1": names[:teams], "N2": names[teams:]}
        names[teams - 1], names[teams] = names[teams], names[teams - 1]  # one up, one down
        for league, members in divisions.items():
            pairs = [(h, a) for h in members for a in members if h != a]
            order = rng.permutation(len(pairs))
            start = pd.Timestamp(2020 + season, 8, 1)
            for position, pair in enumerate(order):
                day = start + pd.Timedelta(days=int(4 * (position // 2) + rng.integers(0, 3)))
                rows.append((league, str(2021 + 101 * season), day, *pairs[pair]))
    matches = pd.DataFrame(rows, columns=["league", "season", "match_date", "home", "away"])
    matches.insert(0, "match_id", [f"m{i}" for i in range(len(matches))])
    matches = matches.assign(sport="football", rating_pool="north", kickoff=pd.NaT)
    matches.index = pd.Index(rng.permutation(len(matches)) + 100)
    midnight = matches["match_date"].dt.tz_localize("UTC")
    hours = pd.to_timedelta(rng.integers(-60, 12, len(matches)), unit="h")
    scores = rng.poisson(1.4, (len(matches), 2))
    results = pd.DataFrame(
        {
            "match_id": matches["match_id"].to_numpy(),
            "home_score": scores[:, 0],
            "away_score": scores[:, 1],
            "known_at": (midnight + pd.Timedelta(days=1)).to_numpy(),
        }
    )
    results["known_at"] = pd.to_datetime(results["known_at"], utc=True)
    shots = rng.poisson(11.0, (len(matches), 2)).astype(float)
    on_target = rng.binomial(shots.astype(int), 0.35).astype(float)
    shots[rng.random(shots.shape) < 0.1] = np.nan
    statistics = pd.DataFrame(
        {
            "match_id": matches["match_id"].to_numpy(),
            "home_shots": shots[:, 0],
            "away_shots": shots[:, 1],
            "home_shots_on_target": on_target[:, 0],
            "away_shots_on_target": on_target[:, 1],
        }
    ).iloc[: int(0.95 * len(matches))]
    played = rng.random(len(matches)) < 0.95
    return World(matches, results[played].reset_index(drop=True), statistics, midnight + hours)


@pytest.fixture(scope="session")
def make_world():
    return _world


@pytest.fixture(scope="session")
def world():
    return _world()
