"""What a process serves: the models of one deployment. It is replaced as a whole, so that no answer mixes two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bentos.match_odds.model.champions import VERSIONS, Champions, load_champions

OWN = Path(__file__).parent.parent
CHAMPIONS, CHALLENGERS = "champions", "challengers"


@dataclass(frozen=True)
class Served:
    """Attributes:
    bento: tag of the Bento that the models came with.
    challengers: models that score beside the champions and answer nobody; may lack markets.
    deployment: number in serving.deployment; None for the models of the process's own Bento.
    """

    bento: str
    champions: Champions
    challengers: Champions
    deployment: int | None = None


def load_served(bento: str, folder: Path = OWN, deployment: int | None = None) -> Served:
    """The models in a Bento's folder `bentos/match_odds`. Raises FileNotFoundError where there are no champions."""
    challengers = folder / CHALLENGERS
    return Served(
        bento,
        load_champions(folder / CHAMPIONS),
        load_champions(challengers) if (challengers / VERSIONS).is_file() else Champions(),
        deployment,
    )
