"""Raw scores of a booster, asked for in LightGBM's C interface (c_api.h, LGBM_BoosterPredictForMat).

`Booster.predict` makes a predictor and parses its parameters anew at every call, which costs several times as much as
300 trees for one row. What is used here beyond the C interface is LightGBM's handle of a booster and its loaded
library; a test holds both to the scores of `Booster.predict`, to the last bit.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import lightgbm

Floats = npt.NDArray[np.float64]

_FLOAT64, _ROW_MAJOR, _RAW_SCORE = 1, 1, 1
_PARAMETERS = b"num_threads=1"


class TreeScoreError(RuntimeError):
    """LightGBM refused; the message is its own."""


def tree_scores(booster: lightgbm.Booster, values: Floats, classes: int) -> Floats:
    """What the trees add to the base, (n, classes), for values (n, features) with NaN for missing.

    Threads may ask at once. Raises TreeScoreError, e.g. for a wrong number of features.
    """
    from lightgbm.basic import _LIB  # type: ignore[attr-defined]

    rows, columns = values.shape
    given = np.ascontiguousarray(values, dtype=np.float64)
    scores = np.empty((rows, classes))
    length = ctypes.c_int64(0)
    failed = _LIB.LGBM_BoosterPredictForMat(
        booster._handle,
        ctypes.c_void_p(given.ctypes.data),
        _FLOAT64,
        ctypes.c_int32(rows),
        ctypes.c_int32(columns),
        _ROW_MAJOR,
        _RAW_SCORE,
        0,
        booster.best_iteration,
        _PARAMETERS,
        ctypes.byref(length),
        ctypes.c_void_p(scores.ctypes.data),
    )
    if failed:
        raise TreeScoreError(_LIB.LGBM_GetLastError().decode())
    if length.value != scores.size:
        raise TreeScoreError(f"{length.value} scores for {rows} rows of {classes} classes")
    return scores
