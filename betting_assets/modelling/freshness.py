"""Is the online store up to date? What it holds of the matches to come against the newest offline rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Frame = pd.DataFrame
FAULTS = ("missing", "behind", "expired")


@dataclass(frozen=True)
class Freshness:
    """One view of the online store.

    table  one row a match that has an offline row, worst first:
           missing    there is no row online
           behind     the row online is older than the one offline
           expired    the row online is older than the view's TTL, so nulls are served
           age_hours  from the time of the row online to the store's clock; below 0 for a row stamped with a decision
                      time still to come; NaN where there is none
           match_id, online_time, offline_time   (UTC)
    """

    table: Frame

    @property
    def faults(self) -> dict[str, int]:
        """Number of matches by fault; a match may have two."""
        return {fault: int(self.table[fault].sum()) for fault in FAULTS}

    @property
    def passed(self) -> bool:
        return not any(self.faults.values())

    @property
    def median_age(self) -> float | None:
        """Hours; None where there is no row online."""
        ages = self.table["age_hours"].dropna()
        return float(ages.median()) if len(ages) else None

    @property
    def oldest_age(self) -> float | None:
        """Hours; None where there is no row online."""
        ages = self.table["age_hours"].dropna()
        return float(ages.max()) if len(ages) else None

    def told(self) -> str:
        """One line for the check."""
        n = len(self.table)
        if self.passed:
            return f"the online rows of {n} upcoming matches are the newest" if n else "no upcoming match has features"
        faults = ", ".join(f"{count} {fault}" for fault, count in self.faults.items() if count)
        return f"{faults} of {n} upcoming matches, first {self.table['match_id'].iloc[0]}: materialize online_features"


def freshness(
    offline: pd.Series[pd.Timestamp],
    online: pd.Series[pd.Timestamp],
    expired: npt.NDArray[np.bool_],
    read_at: pd.Timestamp,
) -> Freshness:
    """Compare the two stores.

    Args:
        offline: time (UTC) of the newest offline row of each match that has one, by match_id; read before `online`,
            so that a row written in between is not taken for one that is behind.
        online: time (UTC) of the online row by match_id, NaT where there is none.
        expired: (len(online),) whether that row is older than its TTL.
        read_at: the store's clock at the read of `online`.
    """
    times = online.reindex(offline.index)
    table = Frame(
        {
            "match_id": offline.index.astype(object),
            "missing": times.isna().to_numpy(),
            "behind": (times < offline).to_numpy(),
            "expired": pd.Series(expired, online.index).reindex(offline.index, fill_value=False).to_numpy(),
            "age_hours": ((read_at - times) / pd.Timedelta(hours=1)).to_numpy(dtype=np.float64),
            "online_time": times.to_numpy(),
            "offline_time": offline.to_numpy(),
        }
    )
    by = [*FAULTS, "age_hours"]
    return Freshness(table.sort_values(by, ascending=False, kind="stable", ignore_index=True))
