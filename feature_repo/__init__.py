"""The feature store's definitions and operations, on Feast.

Feast decorates its classes with typeguard, which parses their sources anew at every import: four seconds of CPU in each
process. Its annotations are checked by mypy here, so Feast is imported with the decorator switched off.
"""

from __future__ import annotations

from typing import Any

import typeguard


def _unchecked(target: Any = None, **_: Any) -> Any:
    return target if target is not None else _unchecked


_checked, typeguard.typechecked = typeguard.typechecked, _unchecked
try:
    import feast  # noqa: F401
finally:
    typeguard.typechecked = _checked
