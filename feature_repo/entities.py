"""The one entity: a match. Feast's point-in-time join corrupts composite keys, so teams are columns of a match."""

from __future__ import annotations

from feast import Entity, ValueType

match = Entity(
    name="match",
    join_keys=["match_id"],
    value_type=ValueType.STRING,
    description="A fixture: league, date, home and away team as one slug.",
)
