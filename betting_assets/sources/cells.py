"""From text cells to numbers, with a note for every cell that holds something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BLANK = frozenset({"", "#N/A", "#N/D", "#VALUE!", "#REF!", "N/A", "NA", "nan", "NaN", "None", "null", "NULL", "-"})
"""What spreadsheets and other tools write into an empty cell."""

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
Acceptable = Callable[[Numbers], Mask]


def matrix(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> list[list[str]]:
    """The cells of some columns, row by row; a row that ends early has blanks there."""
    return [[row[column] if column < len(row) else "" for column in columns] for row in rows]


def numbers(cells: Sequence[Sequence[str]], columns: int, acceptable: Acceptable) -> tuple[Numbers, Mask]:
    """Numbers of a table of text, (rows, columns), NaN where blank or unacceptable, and a mask of garbage cells.

    Zero stands for "no price" in the files; where the caller does not accept it, it counts as blank, not as garbage.
    """
    flat = [cell for row in cells for cell in row]
    values = pd.to_numeric(pd.Series(flat, dtype=object), errors="coerce").to_numpy(np.float64)
    good = acceptable(values)
    garbage = ~good & (values != 0)
    doubtful = np.flatnonzero(garbage)
    garbage[doubtful] = [flat[number] not in BLANK for number in doubtful.tolist()]
    shape = (len(cells), columns)
    return np.where(good, values, np.nan).reshape(shape), garbage.reshape(shape)
