"""What a process serves: the models of one deployment. It is replaced as a whole, so that no answer mixes two."""

from __future__ import annotations

from dataclasses import dataclass

from bentos.match_odds.champions import Champions


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
