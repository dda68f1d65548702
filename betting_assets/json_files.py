"""Numbers for other programs: strict JSON, which has no NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any


def write_json(content: Any, path: Path) -> None:
    """Write `content`, with null for every NaN and infinity; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(finite(content), indent=1, default=str, allow_nan=False) + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """`value` with None for every NaN and infinity in it, at any depth."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
