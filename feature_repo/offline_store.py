"""Feast's PostgreSQL offline store with its point-in-time join, its transport and its writes mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    MULTIPLE_FEATURE_VIEW_POINT_IN_TIME_JOIN,
    EntitySelectMode,
    PostgreSQLOfflineStore,
    PostgreSQLOfflineStoreConfig,
    PostgreSQLRetrievalJob,
    build_point_in_time_query,
)
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import FeatureViewQueryContext, get_feature_view_query_context
from feast.infra.registry.base_registry import BaseRegistry
from feast.utils import compute_non_entity_date_range

from feature_repo.arrow_types import as_feast_types
from feature_repo.entity_rows import ROW, EntityRows, QueriedRows, Span, entity_rows, require
from feature_repo.offline_connection import offline_connection
from feature_repo.offline_write import MARKS, write_rows
from feature_repo.point_in_time_query import View, copied, indexed, join_keys, point_in_time_query

TIME = "event_timestamp"


class PointInTimePostgresOfflineStoreConfig(PostgreSQLOfflineStoreConfig):
    """Feast finds it by the name of the store; its base allows no other `type` than its own."""

    type: Any = "feature_repo.offline_store.PointInTimePostgresOfflineStore"


class PointInTimePostgresOfflineStore(PostgreSQLOfflineStore):
    """Differs from Feast 0.67 in this:

    - the point-in-time join reads one row by index for each entity row and view, instead of every row within the TTL;
    - composite join keys are compared key by key; Feast joins their texts without a separator, so that a, bc is ab, c;
    - of rows with the same times one counts; Feast makes one result row of each;
    - entity rows live in a temporary table of the connection that reads: a killed client leaves nothing behind;
    - the result has the order of the entity rows, and their columns as they were given;
    - everything goes over ADBC, in UTC, instead of one Python object a cell in the server's zone;
    - rows can be written (`offline_write_batch`), so that a push to both stores works.

    Feast's own query still runs (without nested loops, over ADBC, never with a table left behind) for a range of dates
    instead of entity rows, and for an SQL query with `entity_select_mode: embed_query`, which needs no right to make
    temporary tables.
    """

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        question = _Question(config, feature_views, feature_refs, registry, project, full_feature_names)
        if entity_df is None:
            return question.between(**kwargs)
        rows = entity_rows(entity_df, config.offline_store)
        if isinstance(rows, QueriedRows) and config.offline_store.entity_select_mode is EntitySelectMode.embed_query:
            return question.embedded(rows, filter_by_created_timestamp)
        return question.at(rows, filter_by_created_timestamp)

    @staticmethod
    def pull_latest_from_table_or_query(*args: Any, **kwargs: Any) -> RetrievalJob:
        return _ArrowJob.like(PostgreSQLOfflineStore.pull_latest_from_table_or_query(*args, **kwargs))

    @staticmethod
    def pull_all_from_table_or_query(*args: Any, **kwargs: Any) -> RetrievalJob:
        return _ArrowJob.like(PostgreSQLOfflineStore.pull_all_from_table_or_query(*args, **kwargs))

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        write_rows(config.offline_store, feature_view, table)
        if progress:
            progress(table.num_rows)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """The source's columns but those that a write sets by itself: Feast asks a push for every one of them."""
        used = {data_source.timestamp_field, data_source.created_timestamp_column}
        columns = super().get_table_column_names_and_types_from_data_source(config, data_source)
        return [(name, kind) for name, kind in columns if name in used or name not in MARKS]


@dataclass(frozen=True)
class _Question:
    """What Feast asks of an offline store, but for the rows."""

    config: RepoConfig
    feature_views: list[FeatureView]
    feature_refs: list[str]
    registry: BaseRegistry
    project: str
    full_feature_names: bool

    def at(self, rows: EntityRows, known_by_created: bool) -> RetrievalJob:
        """The features as they were known at the time of each row."""
        span = rows.span()
        views = [View.of(context, full_names=self.full_feature_names) for context in self._contexts(span)]
        return _PointInTimeJob(rows, views, known_by_created, **self._job(rows.columns, rows.time, span))

    def embedded(self, rows: QueriedRows, known_by_created: bool) -> RetrievalJob:
        """The same by Feast's own query, in which that of the rows is embedded."""
        span = rows.span()
        query = self._stock_query(
            span,
            rows.columns,
            entity_df_event_timestamp_col=rows.time,
            left_table_query_string=rows.query,
            use_cte=True,
            filter_by_created_timestamp=known_by_created,
        )
        return _ArrowJob(query, **self._job(rows.columns, rows.time, span))

    def between(self, start_date: datetime | None = None, end_date: datetime | None = None) -> RetrievalJob:
        """Every row of the views with a time in a range, by Feast's own query."""
        span = compute_non_entity_date_range(self.feature_views, start_date, end_date)
        query = self._stock_query(
            span,
            [TIME],
            entity_df_event_timestamp_col=TIME,
            left_table_query_string="",
            start_date=span[0],
            end_date=span[1],
        )
        return _ArrowJob(query, **self._job([TIME], TIME, span))

    def _contexts(self, span: Span) -> list[FeatureViewQueryContext]:
        """Feast describes a query only with times, even if there is no row to have one."""
        known = (span[0] or datetime.max, span[1] or datetime.max)
        return get_feature_view_query_context(self.feature_refs, self.feature_views, self.registry, self.project, known)

    def _stock_query(self, span: Span, columns: list[str], **rendered: Any) -> str:
        return build_point_in_time_query(
            [_quoted(context) for context in self._contexts(span)],
            entity_df_columns=dict.fromkeys(columns).keys(),
            query_template=MULTIPLE_FEATURE_VIEW_POINT_IN_TIME_JOIN,
            full_feature_names=self.full_feature_names,
            **rendered,
        )

    def _job(self, columns: list[str], time: str, span: Span) -> dict[str, Any]:
        """Arguments of every job."""
        return {
            "config": self.config,
            "full_feature_names": self.full_feature_names,
            "on_demand_feature_views": OnDemandFeatureView.get_requested_odfvs(
                self.feature_refs, self.project, self.registry
            ),
            "metadata": RetrievalMetadata(self.feature_refs, [name for name in columns if name != time], *span),
        }


def _quoted(context: FeatureViewQueryContext) -> dict[str, Any]:
    """As Feast's template wants it: with quotes, so that upper-case names work."""
    selections = ['"' + selection.replace(" AS ", '" AS "') + '"' for selection in context.entity_selections]
    return asdict(context) | {"entity_selections": selections}


class _ArrowJob(PostgreSQLRetrievalJob):
    """Runs a query of Feast's over ADBC."""

    @classmethod
    def like(cls, job: RetrievalJob) -> _ArrowJob:
        assert isinstance(job, PostgreSQLRetrievalJob)
        return cls(job._query_generator, job.config, job.full_feature_names, job.on_demand_feature_views, job.metadata)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with offline_connection(self.config.offline_store, timeout) as connection, connection.cursor() as cursor:
            # PostgreSQL expects one row of each inner part of Feast's join, and would join them by nested loops.
            cursor.execute("SET LOCAL enable_nestloop = off")
            cursor.execute(self.to_sql())
            return as_feast_types(cursor.fetch_arrow_table())


class _PointInTimeJob(PostgreSQLRetrievalJob):
    """Entity rows to PostgreSQL and features back, on one connection."""

    def __init__(self, rows: EntityRows, views: list[View], known_by_created: bool, **job: Any) -> None:
        query = point_in_time_query(views, known_by_created=known_by_created)
        super().__init__(query, **job)
        self._rows, self._views, self._known_by_created = rows, views, known_by_created
        require(rows, join_keys(views))
        outputs = [output for view in views for output in view.outputs]
        if clash := sorted({*outputs} & {*rows.columns}):
            raise ValueError(f"{', '.join(clash)}: a column of the entity rows has the name of a feature: rename it")

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with offline_connection(self.config.offline_store, timeout) as connection, connection.cursor() as cursor:
            result = self._rows.stage(connection, join_keys(self._views))
            views = [
                view if indexed(connection, view) else copied(connection, view, number)
                for number, view in enumerate(self._views)
            ]
            cursor.execute(point_in_time_query(views, known_by_created=self._known_by_created))
            found = cursor.fetch_arrow_table()
            connection.rollback()  # so that a pooler's connection, too, is left without temporary tables
        found = as_feast_types(found.sort_by(ROW))
        for field in found.schema:
            if field.name != ROW:
                result = result.append_column(field, found[field.name])
        return result
