"""Training tables frozen in files that name their own content: the same data give the same file, byte for byte.

The SHA-256 in the name is that of the file, so `sha256sum` checks it too. It changes with the data, and with a pyarrow
that writes Parquet differently; never with the time, the order of rows, or the order of columns.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from betting_assets.modelling.feature_tables import KEYS
from betting_assets.modelling.markets import modelled_market

if TYPE_CHECKING:
    import pyarrow as pa


class SnapshotError(ValueError):
    """A frame cannot be frozen, or a file is not what its name says; the message is one line."""


@dataclass(frozen=True)
class Snapshot:
    """A frozen table: its file `{market}-{sha256}.parquet`, its digest, and what it holds."""

    path: Path
    sha256: str
    rows: int
    columns: tuple[str, ...]


def freeze(frame: pd.DataFrame, folder: Path, market: str) -> Snapshot:
    """Write `frame` to `folder`, which is made if needed; a file that is there already is left as it is.

    Rows are sorted by match_id and event_timestamp (where the frame has it), columns by name; the index is dropped.

    Raises:
        SnapshotError: no match_id, or two rows with the same keys.
        ValueError: the market is not modelled.
    """
    name = modelled_market(market).market.value
    ordered = _in_order(frame)
    content = _parquet(ordered)
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{name}-{digest}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(path, content)
    return Snapshot(path, digest, len(ordered), tuple(ordered.columns))


def load(path: Path) -> pd.DataFrame:
    """The table in a file that `freeze` wrote, with the dtypes that it had.

    Raises:
        SnapshotError: the file's name is not that of a snapshot, or its content was changed.
        FileNotFoundError: there is no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    named = re.fullmatch(r".+-([0-9a-f]{64})\.parquet", path.name)
    if named is None:
        raise SnapshotError(f"{path} is not a snapshot: the name must be market-sha256.parquet, as `freeze` gives it")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != named[1]:
        raise SnapshotError(
            f"{path} was changed: its SHA-256 is {digest[:12]}…, its name says {named[1][:12]}…; "
            "delete it and freeze the training set again"
        )
    frame: pd.DataFrame = pq.read_table(pa.BufferReader(content)).to_pandas()
    return frame


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    if "match_id" not in frame:
        raise SnapshotError("a snapshot needs the column match_id")
    keys = [key for key in KEYS if key in frame]
    if (twice := frame.duplicated(keys)).any():
        raise SnapshotError(f"two rows for {frame.loc[twice, 'match_id'].iloc[0]}: a snapshot has one row for each key")
    return frame[sorted(frame.columns)].sort_values(keys, ignore_index=True)


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(_dtypes_only(table.schema)), sink, compression="zstd")
    return bytes(sink.getvalue())


def _dtypes_only(schema: pa.Schema) -> dict[bytes, bytes]:
    """pandas' notes on the dtypes without those on its version: another release must not change the digest."""
    notes = json.loads(schema.metadata[b"pandas"]) | {"pandas_version": "", "creator": {}}
    return {b"pandas": json.dumps(notes, sort_keys=True).encode()}


def _write_whole(path: Path, content: bytes) -> None:
    """All of the file or nothing, also when the machine stops in the middle."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
