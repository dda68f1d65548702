"""The model registry: MLflow on PostgreSQL, artifacts on disk, one registered model a market.

The alias `champion` is what is served, `challenger` the newest candidate. A version's folder is a `Bundle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from betting_assets.modelling.bundle import Bundle, load_bundle

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
ARTIFACT_PATH = "bundle"


@dataclass(frozen=True)
class Registered:
    """One version in the registry. `version` counts up from 1 for each market."""

    market: str
    version: str
    run_id: str
    folder: Path
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{registered_name(self.market)}/{self.version}"

    def bundle(self) -> Bundle:
        return load_bundle(self.folder)


class Registry:
    """Reads and moves versions and aliases.

    Args:
        tracking_url: SQLAlchemy URL of MLflow's own database, or the address of an MLflow server.
    """

    def __init__(self, tracking_url: str) -> None:
        self.tracking_url = tracking_url

    @property
    def client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_url, self.tracking_url)

    def register(self, market: str, run_id: str, bundle_folder: Path, tags: Mapping[str, str]) -> Registered:
        """Store a bundle's files with the run, make them a new version, and call it the challenger."""
        from mlflow.exceptions import MlflowException

        name, client = registered_name(market), self.client
        try:
            client.create_registered_model(name, description=f"Champion and challengers for the market {market}.")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        client.log_artifacts(run_id, str(bundle_folder), ARTIFACT_PATH)
        source = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACT_PATH}"
        version = client.create_model_version(name, source, run_id, tags=dict(tags)).version
        client.set_registered_model_alias(name, CHALLENGER, str(version))
        return self.version(market, str(version))

    def version(self, market: str, version: str) -> Registered:
        found = self.client.get_model_version(registered_name(market), version)
        return Registered(market, str(found.version), str(found.run_id), _local(str(found.source)), dict(found.tags))

    def by_alias(self, market: str, alias: str) -> Registered | None:
        """The version under an alias, or None where the market has none."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_model_version_by_alias(registered_name(market), alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return self.version(market, str(found.version))

    def make_champion(self, market: str, version: str) -> None:
        self.client.set_registered_model_alias(registered_name(market), CHAMPION, version)


def registered_name(market: str) -> str:
    return f"match_odds_{market}"


def _local(uri: str) -> Path:
    """The folder of an artifact URI on this machine's disk."""
    parsed = urlparse(uri)
    if parsed.scheme not in ("", "file"):
        raise ValueError(f"artifacts of the registry must lie on a local or mounted disk, this version's do not: {uri}")
    return Path(unquote(parsed.path))
