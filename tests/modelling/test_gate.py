"""The gate: promoted is what is shown to be better, calibrated and free of leaks; nothing else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from simulated_tables import Tables, draw, with_frame

from betting_assets.betting.score import Interval
from betting_assets.modelling.evaluation import MARKET_CLOSE, MARKET_PRE, Forecasts, score
from betting_assets.modelling.gate import (
    BETTER,
    CALIBRATED,
    FEWEST_COMMON_MATCHES,
    GATE_CHECKS,
    NOT_WORSE_IN_SHADOW,
    POINT_IN_TIME,
    REFRESH_MARGIN,
    GateCheck,
    aligned,
    gate,
    promoted,
)
from betting_assets.modelling.recipe import Refresh
from betting_assets.modelling.shadow_evidence import ShadowEvidence

Floats = npt.NDArray[np.float64]
NAME = "challenger"
LIVE = NOT_WORSE_IN_SHADOW


@pytest.fixture(scope="module")
def truth(tables: Tables) -> Floats:
    """What the outcomes of `judged` are drawn from."""
    n = len(tables.dataset())
    return np.random.default_rng(3).dirichlet([5.0, 3.0, 4.0], n)


@pytest.fixture(scope="module")
def judged(tables: Tables, truth: Floats) -> Forecasts:
    """A challenger that knows the truth, and a closing market that knows it too."""
    dataset = with_frame(tables.dataset(), outcome=draw(truth, 4))
    blurred = blur(truth, 0.25)
    return Forecasts(dataset, {MARKET_PRE: blurred, MARKET_CLOSE: truth, NAME: truth})


def blur(truth: Floats, size: float, seed: int = 8) -> Floats:
    scores = np.log(truth) + np.random.default_rng(seed).normal(0, size, truth.shape)
    return np.asarray(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))


def champion_of(forecasts: Forecasts, probabilities: Floats) -> pd.DataFrame:
    return pd.DataFrame({"match_id": forecasts.dataset.frame["match_id"], "probabilities": list(probabilities)})


def checks(
    forecasts: Forecasts,
    champion: pd.DataFrame | None,
    name: str = NAME,
    shadow: ShadowEvidence | None = None,
    refresh: Refresh | None = None,
) -> dict[str, GateCheck]:
    found = gate(forecasts, score(forecasts), name, champion, shadow, refresh)
    assert [check.name for check in found] == list(GATE_CHECKS) == [POINT_IN_TIME, CALIBRATED, BETTER, LIVE]
    assert not [check for check in found if "\n" in check.reason]
    return {check.name: check for check in found}


def challenged(forecasts: Forecasts, probabilities: Floats) -> Forecasts:
    return Forecasts(forecasts.dataset, {**forecasts.probabilities, NAME: probabilities})


def test_a_better_challenger_is_promoted(judged: Forecasts, truth: Floats) -> None:
    found = checks(judged, champion_of(judged, blur(truth, 0.5)))
    assert promoted(list(found.values()))
    assert found[BETTER].reason.startswith("better: log-loss against the champion -0.")


def beside(difference: Interval) -> ShadowEvidence:
    return ShadowEvidence("1x2", "v2", "v1", 60, 1.0 + difference.mean, 1.0, difference)


def test_a_challenger_that_did_worse_in_shadow_is_not_promoted(judged: Forecasts, truth: Floats) -> None:
    live = beside(Interval(0.03, 0.01, 0.05, 500))
    found = checks(judged, champion_of(judged, blur(truth, 0.5)), shadow=live)
    assert [name for name, check in found.items() if not check.passed] == [LIVE]
    assert not promoted(list(found.values()))


def test_doing_well_in_shadow_alone_promotes_nobody(judged: Forecasts, truth: Floats) -> None:
    live = beside(Interval(-0.3, -0.4, -0.2, 5000))
    worse = challenged(judged, blur(truth, 0.5))
    found = checks(worse, champion_of(judged, truth), shadow=live)
    assert found[LIVE].passed
    assert not promoted(list(found.values()))


def test_a_worse_challenger_is_not_promoted(judged: Forecasts, truth: Floats) -> None:
    worse = challenged(judged, blur(truth, 0.5))
    assert not checks(worse, champion_of(judged, truth))[BETTER].passed


def test_a_challenger_that_cannot_be_told_apart_is_not_promoted(judged: Forecasts, truth: Floats) -> None:
    found = checks(challenged(judged, blur(truth, 0.03, seed=1)), champion_of(judged, blur(truth, 0.03, seed=2)))
    assert not found[BETTER].passed
    assert "not shown to be better" in found[BETTER].reason


@pytest.mark.parametrize("dust", [0.0, 1e-17, 1e-12, 1e-9])
def test_a_challenger_equal_to_the_champion_is_never_promoted(judged: Forecasts, truth: Floats, dust: float) -> None:
    """Rounding is always on one side: a difference of 1e-12 on every match has an interval that excludes zero."""
    happened = np.eye(3)[judged.dataset.outcomes]
    nudged = challenged(judged, (truth + dust * happened) / (1.0 + dust))
    assert not checks(nudged, champion_of(judged, truth))[BETTER].passed


def test_without_a_champion_a_calibrated_challenger_is_promoted(judged: Forecasts) -> None:
    found = checks(judged, None)
    assert promoted(list(found.values()))
    assert found[BETTER].reason == "there is no champion yet"


def test_a_miscalibrated_challenger_is_refused_even_without_a_champion(judged: Forecasts, truth: Floats) -> None:
    sure = truth**1.6 / (truth**1.6).sum(axis=1, keepdims=True)
    found = checks(challenged(judged, sure), None)
    assert not found[CALIBRATED].passed
    assert not promoted(list(found.values()))


def test_a_planted_leak_is_refused_by_the_point_in_time_check(judged: Forecasts, truth: Floats) -> None:
    """A tenth of the outcome in the forecast: better than a closing line that knows the truth."""
    happened = np.eye(3)[judged.dataset.outcomes]
    found = checks(challenged(judged, 0.9 * truth + 0.1 * happened), champion_of(judged, blur(truth, 0.5)))
    assert found[BETTER].passed
    assert not found[POINT_IN_TIME].passed
    assert "look for the leak" in found[POINT_IN_TIME].reason
    assert not promoted(list(found.values()))


def test_the_closing_line_itself_is_no_leak(judged: Forecasts) -> None:
    assert checks(judged, None)[POINT_IN_TIME].passed


def test_without_a_closing_line_the_check_says_so(judged: Forecasts, truth: Floats) -> None:
    bare = Forecasts(judged.dataset, {**judged.probabilities, MARKET_CLOSE: np.full_like(truth, np.nan)})
    found = checks(bare, None)
    assert found[POINT_IN_TIME].passed
    assert "no closing line" in found[POINT_IN_TIME].reason


def test_too_few_common_matches_are_refused(judged: Forecasts, truth: Floats) -> None:
    champion = champion_of(judged, blur(truth, 0.9))
    few = checks(judged, champion.sample(FEWEST_COMMON_MATCHES - 1, random_state=1))[BETTER]
    assert not few.passed
    assert few.reason == "only 199 matches forecast by both; 200 are needed"
    assert checks(judged, champion.sample(FEWEST_COMMON_MATCHES, random_state=1))[BETTER].passed
    assert "only 0 matches" in checks(judged, champion.iloc[:0])[BETTER].reason


def test_a_challenger_without_any_forecast_is_refused(judged: Forecasts, truth: Floats) -> None:
    found = checks(challenged(judged, np.full_like(truth, np.nan)), None)
    assert not promoted(list(found.values()))


def test_forecasts_are_aligned_by_match_and_not_by_row(judged: Forecasts, truth: Floats) -> None:
    ids = judged.dataset.frame["match_id"]
    shuffled = champion_of(judged, truth).sample(frac=1.0, random_state=2).iloc[5:]
    found = aligned(shuffled, ids, 3)
    there = ids.isin(shuffled["match_id"]).to_numpy()
    assert np.array_equal(found[there], truth[there])
    assert np.isnan(found[~there]).all()
    assert (~there).sum() == 5


NEWER = Refresh(True, "the champion's recipe with 12 more matches")


def better_by(forecasts: Forecasts, nats: float) -> Floats:
    """Forecasts whose log-loss is better than the challenger's by `nats` on every match."""
    p, happened = forecasts.probabilities[NAME].copy(), forecasts.dataset.outcomes[:, None]
    given = np.take_along_axis(p, happened, axis=1)
    p *= (1 - given * np.exp(nats)) / (1 - given)
    np.put_along_axis(p, happened, given * np.exp(nats), axis=1)
    return p


def test_a_refresh_that_ties_is_promoted_and_does_not_claim_to_be_better(judged: Forecasts, truth: Floats) -> None:
    found = checks(judged, champion_of(judged, truth), refresh=NEWER)
    assert promoted(list(found.values()))
    assert found[BETTER].reason.startswith(
        "refresh: the champion's recipe with 12 more matches, not claimed to be better"
    )


@pytest.mark.parametrize(("nats", "passes"), [(0.9, True), (1.1, False)])
def test_a_refresh_may_lose_no_more_than_the_margin(judged: Forecasts, nats: float, passes: bool) -> None:
    """Within it although it is worse on every single match: what is asked is how much, not whether."""
    champion = champion_of(judged, better_by(judged, nats * REFRESH_MARGIN))
    check = checks(judged, champion, refresh=NEWER)[BETTER]
    assert check.passed is passes
    assert passes or check.reason.startswith("refresh refused, it may be worse")


def test_a_refresh_that_cannot_be_told_to_be_as_good_is_refused(judged: Forecasts, truth: Floats) -> None:
    """Its mean is within the margin, its interval is not."""
    noisy = challenged(judged, blur(truth, 0.03, seed=1))
    check = checks(noisy, champion_of(judged, blur(truth, 0.03, seed=2)), refresh=NEWER)[BETTER]
    assert not check.passed
    assert "may be worse" in check.reason


def test_what_is_no_refresh_must_be_better_and_the_reason_says_why(judged: Forecasts, truth: Floats) -> None:
    refused = checks(judged, champion_of(judged, truth), refresh=Refresh(False, "another recipe (a against b)"))[BETTER]
    assert not refused.passed
    assert refused.reason.endswith("no refresh: another recipe (a against b)")
    better = checks(judged, champion_of(judged, blur(truth, 0.5)), refresh=Refresh(False, "another recipe"))[BETTER]
    assert better.passed


def test_a_refresh_that_is_worse_on_the_newest_matches_is_refused(judged: Forecasts, truth: Floats) -> None:
    champion = champion_of(judged, truth)
    worse = Refresh(True, NEWER.told, Interval(0.02, 0.01, 0.03, 150))
    check = checks(judged, champion, refresh=worse)[BETTER]
    assert not check.passed
    assert "worse on the newest matches" in check.reason
    undecided = Refresh(True, NEWER.told, Interval(0.02, -0.01, 0.05, 150))
    assert checks(judged, champion, refresh=undecided)[BETTER].passed


def test_a_refresh_must_pass_everything_else_too(judged: Forecasts, truth: Floats) -> None:
    found = checks(judged, champion_of(judged, truth), shadow=beside(Interval(0.03, 0.01, 0.05, 500)), refresh=NEWER)
    assert found[BETTER].passed
    assert not promoted(list(found.values()))
