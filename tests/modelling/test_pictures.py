"""Pictures: each is a PNG of the promised width that fits into metadata, and its title says what the data say."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from betting_assets.modelling import pictures
from betting_assets.modelling.pictures import (
    LARGEST_URI,
    as_markdown,
    evaluation_picture,
    margin_picture,
    ratings_picture,
    reliability_picture,
    truth_picture,
)

RNG = np.random.default_rng(4)
TRUTH = RNG.dirichlet([5.0, 3.0, 3.0], size=1500)
OUTCOMES = np.array([RNG.choice(3, p=p) for p in TRUTH])
SELECTIONS = ("home", "draw", "away")


@pytest.fixture
def titles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the pictures drawn in a test."""
    drawn: list[str] = []
    figure = pictures._figure

    def noted(height: float, title: str) -> Any:
        drawn.append(title)
        return figure(height, title)

    monkeypatch.setattr(pictures, "_figure", noted)
    return drawn


def check(png: bytes) -> None:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert image.width == 900
    colours = image.convert("RGB").getcolors(maxcolors=100_000)
    assert colours is not None
    assert len(colours) > 10
    assert as_markdown(png).startswith("![](data:image/png;base64,")


def scores(**means: float) -> dict[str, dict[str, Any]]:
    def difference(mean: float) -> dict[str, dict[str, float]]:
        interval = {"mean": mean, "lo": mean - 0.001, "hi": mean + 0.001, "n": 1000}
        return {"log_loss": interval, "rps": interval}

    return {
        name: {"n": 1000, "log_loss": 0.97 + mean, "rps": 0.2, "ece": 0.01, "diff_vs_market_pre": difference(mean)}
        for name, mean in means.items()
    }


def league(seasons: int = 2) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Matches, ratings and market of seven invented teams, one match a week."""
    teams = [f"Team {letter}" for letter in "ABCDEFG"]
    n = 40 * seasons
    home = [teams[i % 7] for i in range(n)]
    away = [teams[(i + 1 + i // 7 % 6) % 7] for i in range(n)]
    ids = [f"m{i}" for i in range(n)]
    matches = pd.DataFrame({"match_id": ids, "league": "X0", "home": home, "away": away}).assign(
        match_date=pd.date_range("2018-08-11", periods=n, freq="7D"), season=["1819", "1920"][0]
    )
    matches["season"] = np.where(np.arange(n) < 40, "1819", "1920")
    strength = {team: 1400.0 + 50 * i for i, team in enumerate(teams)}
    ratings = pd.DataFrame({"match_id": ids}).assign(
        home_elo=[strength[team] for team in home], away_elo=[strength[team] for team in away]
    )
    market = pd.DataFrame({"match_id": ids, "market_1x2_overround": np.where(np.arange(n) < 40, 0.06, 0.025)})
    return matches, ratings, market.assign(market_1x2_fallback=np.arange(n) < 40)


def test_the_reliability_picture_tells_a_calibrated_forecaster_from_an_overconfident_one(titles: list[str]) -> None:
    check(reliability_picture(TRUTH, OUTCOMES, SELECTIONS, "1x2"))
    sharp = TRUTH**2 / (TRUTH**2).sum(axis=1, keepdims=True)
    check(reliability_picture(sharp, OUTCOMES, SELECTIONS, "1x2"))
    assert titles[0].startswith("1x2: calibrated, error 0.0")
    assert titles[1].startswith("1x2: miscalibrated, error 0.0")


def test_a_market_of_two_selections_can_be_drawn() -> None:
    two = TRUTH[:, :2] / TRUTH[:, :2].sum(axis=1, keepdims=True)
    check(reliability_picture(two, OUTCOMES % 2, ("over", "under"), "Over/under"))


def test_the_ratings_picture_names_the_team_that_leads_now(titles: list[str]) -> None:
    matches, ratings, _ = league()
    check(ratings_picture(ratings, matches, "X0"))
    assert titles[0].startswith("X0: Team G rated highest, 1700 points (Aug 2018 to ")


def test_a_team_that_has_left_the_league_is_not_its_leader(titles: list[str]) -> None:
    matches, ratings, _ = league()
    gone = (matches[["home", "away"]] == "Team G").any(axis=1) & (matches["season"] == "1920")
    ratings_picture(ratings, matches[~gone], "X0")
    assert titles[0].startswith("X0: Team F rated highest")


def test_a_league_without_ratings_is_refused_by_name() -> None:
    matches, ratings, _ = league()
    with pytest.raises(ValueError, match="no rated match in league 'Y9'"):
        ratings_picture(ratings, matches, "Y9")


@pytest.mark.parametrize(("mean", "verdict"), [(-0.002, "beats"), (0.002, "loses to"), (0.0005, "cannot be told from")])
def test_the_evaluation_picture_says_how_the_best_model_stands_to_the_market(
    titles: list[str], mean: float, verdict: str
) -> None:
    everything = scores(base_rate=0.09, market_pre=0.0, market_close=-0.003, market_residual=mean, fundamentals=0.014)
    check(evaluation_picture(everything, "1x2"))
    assert titles == [f"1x2: market residual {verdict} the market (1,000 matches)"]


def test_the_evaluation_picture_leaves_out_a_forecaster_without_forecasts(titles: list[str]) -> None:
    check(evaluation_picture({**scores(fundamentals=0.01), "market_close": {"n": 0, "n_dropped": {}}}))
    assert titles == ["fundamentals loses to the market (1,000 matches)"]
    check(evaluation_picture({}))
    assert titles[1] == "nothing to compare with the market"


def test_the_margin_picture_names_the_lowest_margin(titles: list[str]) -> None:
    matches, _, market = league()
    check(margin_picture(market, matches))
    assert titles == ["Overround of 1x2: lowest in X0 19/20, 2.5 %"]


def test_a_market_without_prices_is_refused() -> None:
    matches, _, market = league()
    with pytest.raises(ValueError, match="no match has a price of market 1x2"):
        margin_picture(market.assign(market_1x2_overround=np.nan), matches)


def test_the_truth_picture_says_how_far_the_model_is_off(titles: list[str]) -> None:
    check(truth_picture(TRUTH + np.array([0.02, -0.02, 0.0]), TRUTH))
    assert titles == ["Simulated league: the model is 1.3 points off the truth on average"]


def test_a_picture_is_carried_whole_or_left_out_with_a_word() -> None:
    png = truth_picture(TRUTH, TRUTH)
    text = as_markdown(png, "truth")
    assert text.startswith("![truth](data:image/png;base64,")
    assert base64.b64decode(text.split("base64,")[1][:-1]) == png
    assert "left out" in as_markdown(b"x" * LARGEST_URI, "huge")
    assert len(as_markdown(b"x" * LARGEST_URI, "huge")) < 200
