"""What the platform does with Feast: apply, materialize, read online, join point in time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureService, FeatureStore, Project
from feast.diff.property_diff import TransitionType
from feast.diff.registry_diff import FeastObjectDiff
from feast.errors import EntityNotFoundException, FeatureServiceNotFoundException, FeatureViewNotFoundException
from feast.feature_view import DUMMY_ENTITY, FeatureView
from feast.repo_contents import RepoContents
from sqlalchemy import text

from betting_assets.modelling.feature_tables import KEYS
from feature_repo.columns import typed
from feature_repo.entities import match
from feature_repo.online_read import PRESENT
from feature_repo.online_rows import OnlineRows
from feature_repo.services import FEATURE_SERVICES, feature_names, feature_service
from feature_repo.store import REGISTRY_LOCK, online_store, registry_engine, registry_state
from feature_repo.views import match_market, match_strength

VIEWS = [match_strength, match_market]
NOT_APPLIED = (FeatureServiceNotFoundException, FeatureViewNotFoundException, EntityNotFoundException)


class NotAppliedError(LookupError):
    """The registry lacks what was asked for; the message says how to mend it."""


def apply_definitions(store: FeatureStore) -> list[str]:
    """Make the registry and the online tables what this folder defines; what is no longer defined goes.

    Returns:
        The changes, e.g. `create feature view match_strength`; empty when nothing had changed.
    """
    sources = [view.batch_source for view in VIEWS if view.batch_source is not None]
    wanted = RepoContents(
        projects=[Project(name=store.project)],
        data_sources=sources,
        entities=[match, DUMMY_ENTITY],
        feature_views=VIEWS,
        feature_services=FEATURE_SERVICES,
        on_demand_feature_views=[],
        stream_feature_views=[],
        label_views=[],
        permissions=[],
    )
    with registry_engine(store).begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({REGISTRY_LOCK})"))
        difference, _, _ = store.plan(wanted)
        changes = [change for change in difference.feast_object_diffs if _is_change(change)]
        gone: list[Any] = [c.current_feast_object for c in changes if c.transition_type is TransitionType.DELETE]
        # Even without a change: an earlier apply may have died between the registry and the online tables.
        store.apply([*sources, match, *VIEWS, *FEATURE_SERVICES], objects_to_delete=gone, partial=False)
    store.registry.refresh(store.project)
    return [_sentence(change) for change in changes]


def _is_change(change: FeastObjectDiff) -> bool:
    """Feast also takes a view for changed when only the time differs at which Python made its source."""
    before, after = change.current_feast_object, change.new_feast_object
    if isinstance(before, FeatureView) and isinstance(after, FeatureView):
        properties = {difference.property_name for difference in change.feast_object_property_diffs}
        return bool(properties - {"batch_source"}) or before.batch_source != after.batch_source
    return change.transition_type is not TransitionType.UNCHANGED


def _sentence(change: FeastObjectDiff) -> str:
    return f"{change.transition_type.name.lower()} {change.feast_object_type.value} {change.name}"


def materialize_upcoming(store: FeatureStore, start: dt.datetime, end: dt.datetime) -> dict[str, int]:
    """Write the feature rows whose decision time lies in [start, end] (both aware) to the online store.

    Returns:
        Number of matches written, by view.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError(f"materialize from {start} to {end}: give both times with a time zone")
    counts = {view.name: _matches_between(store, view, start, end) for view in VIEWS}
    store.materialize(start, end, feature_views=[view.name for view in VIEWS])
    return counts


def _matches_between(store: FeatureStore, view: FeatureView, start: dt.datetime, end: dt.datetime) -> int:
    query = f"SELECT count(DISTINCT match_id) FROM features.{view.name} WHERE event_timestamp BETWEEN :start AND :end"  # noqa: S608
    with registry_engine(store).connect() as connection:
        return int(connection.execute(text(query), {"start": start, "end": end}).scalar_one())


def read_online(store: FeatureStore, service: FeatureService, match_ids: Sequence[str]) -> OnlineRows:
    """Online features of matches: one row an id, in order, with the time, age and status of what each view holds.

    Raises:
        NotAppliedError: the service is not in the registry.
    """
    return online_reader(store, service)(match_ids)


def online_reader(store: FeatureStore, service: FeatureService) -> Callable[[Sequence[str]], OnlineRows]:
    """`read_online` for one service, worked out once for each state of the registry."""
    reader: Callable[[Sequence[str]], OnlineRows] | None = None
    made_from: Any = None

    def read(match_ids: Sequence[str]) -> OnlineRows:
        nonlocal reader, made_from
        state = registry_state(store)
        if reader is None or state != made_from:
            reader, made_from = _reader(store, service), state
        return reader(match_ids)

    return read


def _reader(store: FeatureStore, service: FeatureService) -> Callable[[Sequence[str]], OnlineRows]:
    wanted = {p.name: [feature.name for feature in p.features] for p in service.feature_view_projections}
    views = [feature_view(store, name) for name in wanted]
    return online_store(store).reader(store.config, list(zip(views, wanted.values(), strict=True)))


def read_features(store: FeatureStore, wanted: Mapping[str, Sequence[str]], match_ids: Sequence[str]) -> OnlineRows:
    """As `read_online`, for features named by view instead of a service."""
    views = [feature_view(store, name) for name in wanted]
    return online_store(store).read_rows(store.config, list(zip(views, wanted.values(), strict=True)), match_ids)


def feature_view(store: FeatureStore, name: str) -> FeatureView:
    """A view as it is in the registry. Raises NotAppliedError."""
    view: FeatureView = _ask(
        store, name, lambda: store.registry.get_feature_view(name, store.project, allow_cache=True)
    )
    return view


def online_features(store: FeatureStore, market: str, match_ids: Sequence[str]) -> pd.DataFrame:
    """The newest online features of matches, for the service `{market}_market_residual`, as a frame.

    Returns:
        One row a known match, in the order given: match_id, feature_time (UTC, of the newest of its rows), and every
        feature of the service. Matches without a row that is not expired are absent; unknown values are null.
    """
    service = feature_service(market, "market_residual")
    rows = read_online(store, service, list(dict.fromkeys(match_ids)))
    known = np.any([statuses == PRESENT for statuses in rows.statuses.values()], axis=0)
    times = pd.DatetimeIndex(rows.newest()).tz_localize("UTC").as_unit("ns")
    columns = dict(zip(rows.names, rows.numbers.T, strict=True)) | rows.others
    values = {name: columns[name] for name in feature_names(service)}
    frame = pd.DataFrame({"match_id": list(rows.keys), "feature_time": times} | values)
    return typed(frame.loc[known].reset_index(drop=True))


def point_in_time(store: FeatureStore, market: str, entity_frame: pd.DataFrame) -> pd.DataFrame:
    """The training table of a market: for each match what was known at `event_timestamp`, service `{market}_training`.

    Args:
        entity_frame: match_id and event_timestamp (aware), each pair once.

    Returns:
        The rows of `entity_frame` in their order and with their index, and every feature of the service, null where
        no row was known. Names carry no view prefix.

    Raises:
        ValueError: nothing is asked for, a pair is asked for twice, a time lacks its zone, or the join lost or
            multiplied rows.
    """
    wanted = entity_frame[KEYS]
    if not isinstance(wanted["event_timestamp"].dtype, pd.DatetimeTZDtype):
        raise ValueError("event_timestamp has no time zone: give it as UTC times")
    if wanted.empty:
        raise ValueError(f"no match is asked for: the training table of {market} would be empty")
    if (twice := wanted.duplicated()).any():
        raise ValueError(f"match {wanted.loc[twice, 'match_id'].iloc[0]} is asked for twice at the same time")
    service = feature_service(market, "training")
    entities = wanted.reset_index(drop=True)
    found = _ask(store, service.name, lambda: store.get_historical_features(entities, service).to_df())
    if len(found) != len(wanted):
        raise ValueError(f"the point-in-time join made {len(found)} rows of {len(wanted)}")
    found["event_timestamp"] = pd.to_datetime(found["event_timestamp"], utc=True).astype("datetime64[ns, UTC]")
    joined = wanted.merge(found, on=KEYS, how="left", validate="one_to_one", indicator="found")
    if (lost := joined["found"] != "both").any():
        raise ValueError(f"the point-in-time join lost {lost.sum()} rows, first {joined.loc[lost, 'match_id'].iloc[0]}")
    return typed(joined[[*KEYS, *feature_names(service)]]).set_index(entity_frame.index)


def _ask(store: FeatureStore, what: str, question: Callable[[], Any]) -> Any:
    """The answer, after a second look at the registry if what Feast remembers of it is older than the last apply."""
    try:
        return question()
    except NOT_APPLIED:
        store.registry.refresh(store.project)
    try:
        return question()
    except NOT_APPLIED as error:
        raise NotAppliedError(
            f"the features of {what} are not in the registry: run `python -m feature_repo apply`"
        ) from error
