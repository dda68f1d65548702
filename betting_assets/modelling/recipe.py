"""How a model is made, apart from the data: two models of one recipe differ only by what they were trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from betting_assets.betting.score import Interval
from betting_assets.modelling.boosting import BoostingParams
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.dataset import Dataset

RECIPE_TAG = "recipe"
"""Tag of a registered version."""


@dataclass(frozen=True)
class Refresh:
    """Whether a challenger is the champion's recipe on newer data, and in one line why, or why not.

    `newest`: of `prequential.on_newest`, where there are enough new matches.
    """

    holds: bool
    told: str
    newest: Interval | None = None


def recipe(bundle: Bundle) -> str:
    """Digest of the variants with their features, the parameters of the trees, and how margins are removed.

    What the data decide is left out: how many trees were worth keeping, the calibration, which features were missing.
    """
    facts = {
        "market": [bundle.market.market.value, bundle.market.line, list(bundle.market.selections)],
        "margin_method": bundle.margin_method,
        "boosting": asdict(BoostingParams()),
        "variants": {
            name.value: [list(variant.features), list(variant.market_columns)]
            for name, variant in bundle.variants.items()
        },
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def refresh_of(challenger: str | None, champion: str | None, mine: Dataset, theirs: Dataset) -> Refresh:
    """Whether the challenger, trained on `mine`, refreshes the champion, which was trained on `theirs`.

    Newer means that there is a match which the champion did not see, and no fewer matches on the whole: a training set
    that lost its history is not newer.

    Args:
        challenger, champion: recipes; None where none was recorded.
    """
    if champion is None or challenger is None:
        return Refresh(False, "it is not recorded how the champion was made")
    if challenger != champion:
        return Refresh(False, f"another recipe ({challenger} against {champion})")
    new = int((~mine.frame["match_id"].isin(theirs.frame["match_id"])).sum())
    if not new:
        return Refresh(False, "no match that the champion did not see")
    if len(mine) < len(theirs):
        return Refresh(False, f"{len(mine)} matches, the champion saw {len(theirs)}")
    return Refresh(True, f"the champion's recipe with {new} more matches")
