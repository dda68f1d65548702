"""The champions inside a Bento: one bundle a market, with the version that MLflow gave it.

Layout: champions/versions.json and champions/<market>/ as written by `Bundle.save`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bentos.match_odds.contract import MarketName, ModelCard
from bentos.match_odds.errors import NotFound
from betting_assets.modelling.bundle import Bundle, load_bundle

FOLDER = Path(__file__).parent.parent / "champions"
VERSIONS = "versions.json"


@dataclass(frozen=True)
class Champion:
    bundle: Bundle
    version: str

    def card(self) -> ModelCard:
        bundle = self.bundle
        return ModelCard(
            market=MarketName(bundle.market.market.value),
            model_version=self.version,
            selections=list(bundle.market.selections),
            features=list(bundle.features),
            nullable=sorted(bundle.nullable | set(bundle.market.market_columns)),
            margin_method=bundle.margin_method,
            data_hash=bundle.data_hash,
            trained_at=bundle.trained_at,
            training_rows=bundle.training_rows,
        )


class Champions(dict[str, Champion]):
    """Market → champion."""

    def of(self, market: str) -> Champion:
        """The champion of `market`. Raises NotFound naming the markets that there are."""
        if market not in self:
            raise NotFound(f"this Bento has no champion for market {market!r}, only for {', '.join(sorted(self))}")
        return self[market]


def load_champions(folder: Path = FOLDER) -> Champions:
    """Every champion below `folder`.

    Raises:
        FileNotFoundError: there is none; the service runs from a built Bento only.
    """
    if not (folder / VERSIONS).is_file():
        raise FileNotFoundError(
            f"{folder / VERSIONS}: no champions here; build a Bento with build_bento() and serve it"
        )
    versions: dict[str, str] = json.loads((folder / VERSIONS).read_text())
    return Champions({market: Champion(load_bundle(folder / market), version) for market, version in versions.items()})
