"""Every feature of one match: what is served now beside what training would see, or what was known at a time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from betting_assets.modelling.markets import MARKETS
from betting_assets.operate import OperationError, running_database
from betting_assets.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore

ABSENT = "–"


@dataclass(frozen=True)
class FeatureSheet:
    """A table of texts and a line about each feature view."""

    title: str
    header: list[str]
    rows: list[list[str]]
    views: list[str]


def feature_sheet(settings: Settings, match_id: str, at: dt.datetime | None = None) -> FeatureSheet:
    """The features of a match: online now beside offline at the same moment; with `at` (aware) offline at that time.

    Raises:
        OperationError: no database runs, the definitions were never applied, or the match has no features then.
    """
    from feature_repo.operations import NotAppliedError
    from feature_repo.store import feature_store

    url = running_database(settings)
    store = feature_store(url, "data" if settings.replays else "wall")
    try:
        return _known_at(store, match_id, at) if at is not None else _served_now(store, match_id)
    except NotAppliedError as error:
        raise OperationError(str(error)) from error


def _served_now(store: FeatureStore, match_id: str) -> FeatureSheet:
    from feature_repo.columns import typed
    from feature_repo.online_read import PRESENT
    from feature_repo.operations import read_features

    wanted = _features()
    rows = read_features(store, wanted, [match_id])
    offline = _offline(store, match_id, rows.read_at)
    if rows.absent().all() and offline is None:
        raise OperationError(f"{match_id} has no features, online or offline: `betting predict` lists what is upcoming")
    online = typed(pd.DataFrame(dict(zip(rows.names, rows.numbers.T, strict=True)) | rows.others)).iloc[0]
    cells: list[list[str]] = []
    for view, names in wanted.items():
        for name in names:
            served = _text(online[name]) if rows.statuses[view][0] == PRESENT else ABSENT
            trained = ABSENT if offline is None else _text(offline[name])
            cells.append([name, served, trained, "" if served == trained else "differs"])
    return FeatureSheet(
        f"{match_id}, read {rows.read_at:%Y-%m-%d %H:%M:%S} UTC",
        ["feature", "online", "offline", ""],
        cells,
        [_online_line(view, rows) for view in wanted],
    )


def _known_at(store: FeatureStore, match_id: str, at: dt.datetime) -> FeatureSheet:
    offline = _offline(store, match_id, at)
    if offline is None:
        raise OperationError(f"{match_id} has no features that were known at {at:%Y-%m-%d %H:%M} UTC")
    names = [name for names in _features().values() for name in names]
    return FeatureSheet(
        f"{match_id}, as known at {at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC",
        ["feature", "offline"],
        [[name, _text(offline[name])] for name in names],
        [],
    )


def _features() -> dict[str, list[str]]:
    """By view: every feature that some model is trained on."""
    from feature_repo.services import feature_service

    wanted: dict[str, list[str]] = {}
    for market in MARKETS:
        for projection in feature_service(market, "training").feature_view_projections:
            names = wanted.setdefault(projection.name, [])
            names += [feature.name for feature in projection.features if feature.name not in names]
    return wanted


def _offline(store: FeatureStore, match_id: str, at: dt.datetime) -> pd.Series | None:
    """All features by the point-in-time join that training uses; None where nothing was known."""
    from feature_repo.operations import point_in_time

    asked = pd.DataFrame({"match_id": [match_id], "event_timestamp": pd.to_datetime([at], utc=True).as_unit("ns")})
    tables = [point_in_time(store, market, asked) for market in MARKETS]
    row = pd.concat([table.iloc[0] for table in tables])
    row = row[~row.index.duplicated()].drop(["match_id", "event_timestamp"])
    return None if row.isna().all() else row


def _online_line(view: str, rows: Any) -> str:
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

    status = FieldStatus.Name(int(rows.statuses[view][0]))
    time, age = rows.event_times[view][0], rows.ages()[view][0]
    if pd.isna(time):
        return f"{view}: {status}"
    return f"{view}: {status}, row of {pd.Timestamp(time):%Y-%m-%d %H:%M} UTC, {dt.timedelta(seconds=round(age))} old"


def _text(value: Any) -> str:
    if pd.isna(value):
        return ABSENT
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
