"""How a challenger does beside the champion on the same requests, where nobody sees its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.betting.score import Interval, log_loss, paired_difference
from betting_assets.modelling.markets import MARKETS, modelled_market
from betting_assets.modelling.performance import DUST, FEWEST_MATCHES, distributions

FEWEST_DAYS = 10
"""The bootstrap draws days: from few of them its interval is too narrow."""

EVIDENCE_COLUMNS = (
    "market",
    "challenger",
    "champion",
    "matches",
    "days",
    "challenger_log_loss",
    "champion_log_loss",
    "diff",
    "diff_lo",
    "diff_hi",
    "verdict",
    "seen_by",
)


class Verdict(StrEnum):
    """WORSE: the whole confidence interval of the difference lies above zero."""

    TOO_FEW = "not enough evidence"
    WORSE = "worse"
    NOT_WORSE = "not worse"


@dataclass(frozen=True)
class ShadowEvidence:
    """Settled answers of one challenger beside one champion, one pair a match.

    Attributes:
        difference: log-loss of the challenger minus the champion's; NaN bounds where there is one day only.
        days: calendar days that the matches lie on.
    """

    market: str
    challenger: str
    champion: str
    days: int
    challenger_log_loss: float
    champion_log_loss: float
    difference: Interval

    @property
    def matches(self) -> int:
        return self.difference.n

    @property
    def verdict(self) -> Verdict:
        if self.matches < FEWEST_MATCHES or self.days < FEWEST_DAYS:
            return Verdict.TOO_FEW
        return Verdict.WORSE if self.difference.lo > DUST else Verdict.NOT_WORSE


def shadow_evidence(pairs: pd.DataFrame, seed: int = 0) -> list[ShadowEvidence]:
    """The evidence of each challenger beside each champion.

    Args:
        pairs: of `warehouse.predictions.read_shadow_pairs`. A pair of which one side is no distribution over the
            market, or whose market is not modelled, is left out.
    """
    known = pairs[pairs["market"].isin(list(MARKETS))]
    both = distributions(known["market"], known["challenger_probabilities"]) & distributions(
        known["market"], known["champion_probabilities"]
    )
    groups = known[both].groupby(["market", "challenger", "champion"])
    return [
        _evidence(part, str(market), str(challenger), str(champion), seed)
        for (market, challenger, champion), part in groups
    ]


def evidence_table(evidence: Sequence[ShadowEvidence]) -> pd.DataFrame:
    """One row each, for people."""
    rows = [
        (
            one.market,
            one.challenger,
            one.champion,
            one.matches,
            one.days,
            one.challenger_log_loss,
            one.champion_log_loss,
            one.difference.mean,
            one.difference.lo,
            one.difference.hi,
            one.verdict.value,
            "nobody",
        )
        for one in evidence
    ]
    return pd.DataFrame(rows, columns=list(EVIDENCE_COLUMNS))


def _evidence(pairs: pd.DataFrame, market: str, challenger: str, champion: str, seed: int) -> ShadowEvidence:
    scores = pairs[["home_score", "away_score"]].to_numpy(dtype=np.int64)
    happened = modelled_market(market).settle(scores[:, 0], scores[:, 1])
    theirs = log_loss(_matrix(pairs["challenger_probabilities"]), happened)
    shown = log_loss(_matrix(pairs["champion_probabilities"]), happened)
    dates = pairs["match_date"].to_numpy(dtype="datetime64[D]")
    return ShadowEvidence(
        market=market,
        challenger=challenger,
        champion=champion,
        days=len(np.unique(dates)),
        challenger_log_loss=float(theirs.mean()),
        champion_log_loss=float(shown.mean()),
        difference=paired_difference(theirs, shown, dates, seed=seed),
    )


def _matrix(probabilities: pd.Series) -> npt.NDArray[np.float64]:
    return np.array(probabilities.tolist(), dtype=np.float64)
