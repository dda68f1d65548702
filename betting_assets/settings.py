"""Every setting of the platform, and the only reader of the environment.

A setting is given as an environment variable with the prefix BETTING_, or in a file `.env` in the working folder.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent

NO_TELEMETRY = {
    "BENTOML_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Most of the packages report usage home by default; on a closed network that also stalls."""


REMEMBERED = "settings.env"
"""File in the state folder; see `remember`."""


class Settings(BaseSettings):
    """Settings with safe defaults: everything on loopback, all state in one folder, an embedded PostgreSQL."""

    model_config = SettingsConfigDict(env_prefix="BETTING_", env_file=".env", extra="ignore")

    home: Path = Field(PROJECT_ROOT / ".betting" / "platform", description="The one folder that holds all state.")
    database_url: SecretStr | None = Field(
        None,
        description="postgresql://user:password@host:port/database of an outside PostgreSQL; unset: the embedded one.",
    )
    data: Path | None = Field(None, description="Folder of football-data.co.uk files; unset: the built-in simulator.")
    leagues: str = Field("", description="Comma-separated league codes to read, e.g. E0,SP1; empty: all there are.")
    hold_back: bool | None = Field(
        None,
        description="Serve the last match day as upcoming where the input has no fixtures; unset: simulator only.",
    )
    hold_back_days: int = Field(1, ge=1, le=30, description="Match days of each league that hold_back serves.")

    reference_book: str = Field(
        "pinnacle", description="Bookmaker whose prices are the market; the average is the fallback."
    )
    margin_method: str = Field("power", description="multiplicative, additive, power, shin or odds_ratio.")

    dagster_port: int = Field(3000, ge=1024, le=65535)
    mlflow_port: int = Field(5000, ge=1024, le=65535)
    serving_port: int = Field(3001, ge=1024, le=65535, description="HTTP of the prediction service.")
    grpc_port: int = Field(3002, ge=1024, le=65535, description="gRPC of the prediction service.")
    serving_host: str = Field("127.0.0.1", description="Address that the prediction service listens on.")
    serving_workers: int = Field(2, ge=1, le=64, description="Processes of the prediction service.")
    follow: bool = Field(
        False,
        description="Serve whatever deployment is current, instead of the Bento's own models. Set by `betting up`.",
    )
    proxy: bool = Field(False, description="Put HAProxy in front, so that new code is deployed without a gap.")

    cache_bound_ms: int = Field(250, ge=50, le=10_000, description="Age above which cached features are not served.")
    stale_features_seconds: float = Field(
        0.0, ge=0, le=3600, description="While the online store is away, serve features up to this age, flagged."
    )
    max_odds_age_seconds: float = Field(
        172_800.0, gt=0, description="Age of odds, by the store's clock, above which edges and stakes are withheld."
    )
    max_waiting_rows: int = Field(2048, ge=64, description="Rows waiting in one worker above which requests are shed.")
    shadow: bool = Field(True, description="Let the challenger score what the champion answers, off the latency path.")

    api_keys_file: Path | None = Field(None, description="File of hashed API keys; unset: no key is asked for.")
    api_key: SecretStr | None = Field(None, description="API key that the `betting` command itself sends.")
    tls_certificate: Path | None = Field(None, description="PEM chain for HTTP and gRPC; unset: no TLS.")
    tls_key: Path | None = Field(None, description="PEM private key of tls_certificate.")
    otlp_endpoint: str | None = Field(None, description="OpenTelemetry collector (OTLP over HTTP); unset: no traces.")

    kafka_servers: str = Field(
        "", description="host:port,… of Apache Kafka; empty: the embedded development broker on kafka_port."
    )
    kafka_port: int = Field(9092, ge=1024, le=65535, description="Of the broker that this machine runs itself.")
    kafka_security: str = Field(
        "PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$", description="How to talk to kafka_servers."
    )
    kafka_user: str = Field("", description="SASL (SCRAM-SHA-512) user of kafka_servers.")
    kafka_password: SecretStr | None = Field(None, description="SASL password of kafka_user.")
    kafka_ca: Path | None = Field(None, description="PEM certificates that kafka_servers are checked against.")
    topic_prefix: str = Field("", pattern=r"^[a-z0-9.-]{0,40}$", description="Goes before the name of every topic.")
    topic_partitions: int = Field(4, ge=1, le=256, description="Partitions of a topic when it is created.")
    topic_replication: int = Field(1, ge=1, le=9, description="Replicas of a topic when it is created.")
    topic_retention_hours: float = Field(
        168.0, gt=0, description="How long Kafka keeps messages; PostgreSQL keeps all."
    )
    max_book_age_seconds: float = Field(
        3600.0, gt=0, description="Age of a bookmaker's live prices above which the scorer passes the book over."
    )
    max_median_distance: float = Field(
        0.35, gt=0, le=5, description="Distance of a price from the median of the books, in log odds: above, an error."
    )
    log_every_seconds: float = Field(
        60.0, ge=0, description="Least time between two predictions of a match that the scorer has logged."
    )
    live_feed: str = Field(
        "", pattern="^(|simulator|odds_api)$", description="What `betting up` feeds the topics with; empty: nothing."
    )
    odds_api_key: SecretStr | None = Field(None, description="Key of The Odds API, for live_feed=odds_api.")

    test_seasons: int = Field(2, ge=1, le=20, description="Newest seasons that a candidate is evaluated on.")
    retrain_results: int = Field(
        200, ge=1, description="Results since the training of a model that are a cause to train it anew."
    )
    max_model_age_days: float = Field(30.0, gt=0, description="Days after which a model is trained anew.")
    retrain_cooldown_minutes: float = Field(
        360.0, ge=0, description="Least time between two trainings of a market that nobody asked for."
    )
    max_drifted_share: float = Field(
        0.3, ge=0, le=1, description="Share of a feature view's columns that may drift before it is a cause to retrain."
    )
    max_skewed_share: float = Field(
        0.001, ge=0, le=1, description="Share of served values that may differ from their recomputation offline."
    )

    @property
    def replays(self) -> bool:
        """Whether old matches are served as upcoming: as `hold_back` says, else for the simulator, which has no future.

        Time is then told by the data, not by the clock.
        """
        return self.data is None if self.hold_back is None else self.hold_back

    @property
    def serving_url(self) -> str:
        """Where the prediction service answers HTTP, asked from this machine."""
        host = "127.0.0.1" if self.serving_host in ("0.0.0.0", "::") else self.serving_host
        return f"{'https' if self.tls_certificate else 'http'}://{host}:{self.serving_port}"

    @property
    def grpc_url(self) -> str:
        """Where the prediction service answers gRPC, asked from this machine."""
        host = "127.0.0.1" if self.serving_host in ("0.0.0.0", "::") else self.serving_host
        return f"{'grpcs' if self.tls_certificate else 'grpc'}://{host}:{self.grpc_port}"

    def as_environment(self) -> dict[str, str]:
        """These settings as variables, so that a child process has the same ones."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        plain = {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in values.items()}
        return {f"BETTING_{name.upper()}": str(value) for name, value in plain.items() if value not in (None, "")}


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once: the environment, then .env, then what the state folder remembers."""
    os.environ.update({key: os.environ.get(key, value) for key, value in NO_TELEMETRY.items()})
    return Settings(_env_file=(Settings().home / REMEMBERED, ".env"))


def remember(home: Path, **values: str) -> None:
    """Keep settings in the state folder for later starts, e.g. which data a platform was fed."""
    lines = [f"BETTING_{name.upper()}={json.dumps(value)}" for name, value in values.items()]
    (home / REMEMBERED).write_text("\n".join(lines) + "\n")
