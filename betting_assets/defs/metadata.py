"""Metadata for the UI: column schemas from the declared tables, previews as tables, pictures, row counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import sqlalchemy as sa

from betting_assets.warehouse.expectations import validate_table

Metadata = dict[str, Any]

OWNERS = ["team:quants"]
PREVIEW_ROWS = 10


def declared_schema(table: sa.Table) -> Metadata:
    """Column schema of a declared table, with its comments as descriptions."""
    columns = [
        dg.TableColumn(
            column.name,
            str(column.type).lower(),
            description=column.comment,
            constraints=dg.TableColumnConstraints(nullable=bool(column.nullable), unique=False),
        )
        for column in table.columns
    ]
    return {
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "dagster/table_name": f"{table.schema}.{table.name}",
    }


def frame_schema(frame: pd.DataFrame) -> Metadata:
    """Column schema of a frame, known once it was made."""
    columns = [dg.TableColumn(str(name), str(kind)) for name, kind in frame.dtypes.items()]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


def rows(count: int) -> Metadata:
    return {"dagster/row_count": count}


def table(frame: pd.DataFrame, most: int = 200) -> dg.TableMetadataValue:
    """A frame as a table in the UI; values that are not plain are written as text."""
    records = [
        dg.TableRecord({str(k): _plain(v) for k, v in record.items()}) for record in frame.head(most).to_dict("records")
    ]
    kinds = {str(name): _kind(frame[name]) for name in frame.columns}
    schema = dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in kinds.items()])
    return dg.MetadataValue.table(records, schema)


def feature_metadata(frame: pd.DataFrame, counts: Any, name: str) -> Metadata:
    """What every feature table shows: schema, rows, changes, the newest rows."""
    return {
        **frame_schema(frame),
        **rows(len(frame)),
        "dagster/table_name": f"features.{name}",
        "inserted": counts.inserted,
        "updated": counts.updated,
        "newest": table(frame.sort_values("event_timestamp").tail(PREVIEW_ROWS)),
    }


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    from betting_assets.modelling.pictures import as_markdown

    return dg.MetadataValue.md(as_markdown(png))


def expectation_spec(asset: str, name: str = "expectations") -> dg.AssetCheckSpec:
    """The blocking check that goes with `expectation_result`."""
    return dg.AssetCheckSpec(
        name,
        asset=asset,
        blocking=True,
        description="Great Expectations on the rows in PostgreSQL; what failed stands in the table.",
    )


def expectation_result(url: str, asset: str, table_name: str, name: str = "expectations") -> dg.AssetCheckResult:
    """Run the suite of one table (schema.table); a failed rule blocks everything downstream."""
    schema, _, table_only = table_name.partition(".")
    result = validate_table(url, schema, table_only)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "result": dg.MetadataValue.md(result.markdown()),
            "rows": result.rows,
            "seconds": round(result.seconds, 2),
            "rules": len(result.rules),
        },
        description=result.reason or _told(result.rules),
    )


def _told(rules: pd.DataFrame) -> str:
    """Which rules are broken and by what, else how many hold."""
    broken = rules[~rules["passed"].astype(bool)]
    if broken.empty:
        return f"{len(rules)} of {len(rules)} rules hold"
    said = [f"{rule.column}: {rule.observed} {rule.rule}" for rule in broken.itertuples()]
    return f"{len(broken)} of {len(rules)} rules are broken: {'; '.join(said)}"


def _kind(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column):
        return "bool"
    if pd.api.types.is_integer_dtype(column):
        return "int"
    return "float" if pd.api.types.is_float_dtype(column) else "string"


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, Mapping | list | tuple | np.ndarray):
        return str(value.tolist() if isinstance(value, np.ndarray) else value)
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | int | float | bool) else str(value)
