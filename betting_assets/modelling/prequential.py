"""Does newer data help? A refit on the older half of what the champion never saw, judged on the newer half.

Forecast first, then learn (Dawid 1984): the champion stays as it was fitted, its recipe is fitted anew on all that was
known before the newer half. It costs one fit. So few matches can only warn: the gate lets it refuse, not promote.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from betting_assets.betting.score import Interval, log_loss, paired_difference
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.dataset import Dataset
from betting_assets.modelling.performance import FEWEST_MATCHES
from betting_assets.modelling.shadow_evidence import FEWEST_DAYS
from betting_assets.modelling.variants import VariantName, fit_variant

ONE_DAY = pd.Timedelta(days=1)


def on_newest(champion: Bundle, theirs: Dataset, mine: Dataset, name: VariantName) -> Interval | None:
    """Log-loss of the refit recipe minus that of the champion as it is, on the newer half of the new matches.

    Args:
        theirs: what the champion was trained on.
        mine: what its challenger was trained on.

    Returns:
        None where the newer half has fewer than FEWEST_MATCHES matches or FEWEST_DAYS days.
    """
    cut_off = _known_at(theirs.frame).max()
    new = mine.frame[mine.frame["event_timestamp"] >= cut_off]
    if new.empty:
        return None
    newer = _rows(mine, new["match_date"] > new["match_date"].quantile(0.5, interpolation="lower"), new)
    if len(newer) < FEWEST_MATCHES or newer.frame["match_date"].nunique() < FEWEST_DAYS:
        return None
    known = _known_at(mine.frame) <= newer.frame["event_timestamp"].min()
    refit = fit_variant(_rows(mine, known, mine.frame), name)
    ours = log_loss(refit.predict(newer.frame), newer.outcomes)
    frozen = log_loss(champion.predict(newer.frame, name).probabilities, newer.outcomes)
    return paired_difference(ours, frozen, newer.dates)


def _rows(dataset: Dataset, chosen: pd.Series, frame: pd.DataFrame) -> Dataset:
    return replace(dataset, frame=frame[chosen].reset_index(drop=True), left_out={})


def _known_at(frame: pd.DataFrame) -> pd.Series:
    """When the results of these matches were known."""
    return pd.to_datetime(frame["match_date"]).dt.tz_localize("UTC") + ONE_DAY
