"""Was what was served what training would have seen? Logged features against their recomputation, cell by cell.

A model is only as good as it was measured where it reads the values that it was trained on. The same read is made
twice: by the service from the online store, and later from the offline tables as they stood at the time of the read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Frame = pd.DataFrame
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""How far two numbers may lie apart. A float64 comes back from JSON and from both stores to the last bit, so equality
would do; but the same maths in another order of summing, as a stream does it, differs by some 1e-13 of the value. What
passes through float32 differs by 6e-8 and is found."""

COLUMNS = (
    "market",
    "feature",
    "n",
    "mismatch",
    "missing",
    "extra",
    "rewritten",
    "smape",
    "match_id",
    "served",
    "recomputed",
)
TOLD = 3


@dataclass(frozen=True)
class Skew:
    """What was compared and what differs.

    table    one row a market and feature, most skewed first:
             n           cells compared: all that were served, null or not, but for those rewritten
             mismatch    both values are there and differ
             missing     null was served, offline there is a value
             extra       a value was served, offline there is none
             rewritten   cells not compared, because the offline row was rewritten after the answer: history was
                         corrected, nothing was served wrong
             smape       symmetric mean absolute percentage error (Flores, Omega 14, 1986) as a share: the mean of
                         |served - recomputed| / (|served| + |recomputed|) over pairs of numbers, 0 where both are 0;
                         0: equal, 1: of opposite sign or one of them 0; NaN for text and where there is no pair
             match_id, served, recomputed   the worst cell, where there is a wrong one
    reads    logged reads that were looked at
    unknown  features that were served but are no longer defined, so that they cannot be recomputed
    """

    table: Frame
    reads: int
    unknown: tuple[str, ...]

    @property
    def compared(self) -> int:
        return int(self.table["n"].sum())

    @property
    def skewed(self) -> int:
        return int(self.table[["mismatch", "missing", "extra"]].to_numpy().sum())

    @property
    def rewritten(self) -> int:
        return int(self.table["rewritten"].sum())

    @property
    def share(self) -> float:
        """Share of the compared cells that differ; 0 where none was compared."""
        return self.skewed / max(self.compared, 1)

    def told(self, max_share: float) -> str:
        """One line for the check: the worst features first."""
        gone = f"; no longer defined: {', '.join(self.unknown)}" if self.unknown else ""
        if not self.reads:
            return "nothing to compare: no online read is in the log"
        if not self.compared:
            return f"nothing to compare: the offline rows of all {self.reads} reads were rewritten since{gone}"
        base = f"{self.skewed} of {self.compared} values in {self.reads} reads differ, {max_share:.2%} may"
        wrong = self.table[self.table["match_id"].notna()]
        worst = "; ".join(_sentence(row) for row in wrong.head(TOLD).to_dict("records"))
        return (f"{worst} – {base}" if worst else base) + gone


def feature_skew(reads: Frame, recomputed: Mapping[str, Frame], rewritten: Mapping[str, Bools]) -> Skew:
    """Compare what was served with what is found offline.

    Args:
        reads: one row a logged read: match_id, market, features (dict of feature → number, text or None).
        recomputed: by market, the features offline at the time of each read, with the index of its reads.
        rewritten: by feature, (number of reads,): the offline row that it comes from was rewritten after the answer.
    """
    numbers = pd.Series(np.arange(len(reads)), index=reads.index)
    rows: list[dict[str, Any]] = []
    unknown: set[str] = set()
    for market, part in reads.groupby("market"):
        offline = recomputed[str(market)].loc[part.index]
        served = dict.fromkeys(name for features in part["features"] for name in features)
        unknown |= served.keys() - set(offline.columns)
        places = numbers[part.index].to_numpy()
        for name in served:
            if name in offline:
                late = rewritten[name][places] if name in rewritten else np.zeros(len(part), np.bool_)
                rows.append({"market": str(market), "feature": name} | _compare(name, part, offline[name], late))
    table = Frame(rows, columns=list(COLUMNS))
    wrong = table[["mismatch", "missing", "extra"]].sum(axis=1)
    order = Frame({"wrong": wrong, "smape": table["smape"]}).sort_values(["wrong", "smape"], ascending=False).index
    return Skew(table.loc[order].reset_index(drop=True), len(reads), tuple(sorted(unknown)))


def _compare(name: str, reads: Frame, offline: pd.Series[Any], late: Bools) -> dict[str, Any]:
    """One row of the table; a read of a model that did not know the feature is left out."""
    asked = np.array([name in features for features in reads["features"]], np.bool_)
    served = [features.get(name) for features in reads["features"]]
    counted, here, there = asked & ~late, np.array([v is not None for v in served]), offline.notna().to_numpy(np.bool_)
    distance = _distances(served, offline)
    wrong = {
        "mismatch": counted & here & there & (distance > 0),
        "missing": counted & ~here & there,
        "extra": counted & here & ~there,
    }
    pairs = distance[counted & here & there] if pd.api.types.is_float_dtype(offline.dtype) else np.empty(0)
    counts = {kind: int(cells.sum()) for kind, cells in wrong.items()}
    smape = float(pairs.mean()) if len(pairs) else float("nan")
    base = {"n": int(counted.sum()), **counts, "rewritten": int((asked & late).sum()), "smape": smape}
    anywhere = wrong["mismatch"] | wrong["missing"] | wrong["extra"]
    if not anywhere.any():
        return base | {"match_id": None, "served": None, "recomputed": None}
    worst = int(np.argmax(np.where(anywhere, np.where(here & there, distance, 1.0), -1.0)))
    return base | {
        "match_id": str(reads["match_id"].iloc[worst]),
        "served": _text(served[worst]),
        "recomputed": _text(offline.iloc[worst]),
    }


def _distances(served: Sequence[Any], offline: pd.Series[Any]) -> Floats:
    """How far each pair is apart, in [0, 1]; 0 when it is the same. Where one is null the number means nothing."""
    if not pd.api.types.is_float_dtype(offline.dtype):
        return np.array([float(a != b) for a, b in zip(served, _objects(offline), strict=True)])
    old = offline.to_numpy(np.float64, na_value=np.nan)
    new = np.array([float(v) if isinstance(v, int | float) else np.nan for v in served])
    new, old = new / 2, old / 2  # the difference and the sum of halves cannot overflow
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.abs(new - old)
        apart = difference / (np.abs(new) + np.abs(old))
        same = difference <= ABSOLUTE / 2 + RELATIVE * np.abs(old)
    return np.asarray(np.where(same, 0.0, np.where(np.isfinite(apart), apart, 1.0)))


def _objects(values: pd.Series[Any]) -> list[Any]:
    return [None if missing else value for value, missing in zip(values, values.isna(), strict=True)]


def _text(value: Any) -> str:
    """Numbers to the last digit: a small skew shows nowhere else."""
    if value is None or pd.isna(value):
        return "null"
    return repr(float(value)) if isinstance(value, int | float) else str(value)


def _sentence(row: Mapping[Any, Any]) -> str:
    wrong = row["mismatch"] + row["missing"] + row["extra"]
    return (
        f"{row['market']} {row['feature']}: {wrong} of {row['n']}, "
        f"as {row['match_id']} served {row['served']}, recomputed {row['recomputed']}"
    )
