"""A feature store on a database of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from feast import FeatureStore

from feature_repo.operations import apply_definitions
from feature_repo.store import feature_store, forget


@pytest.fixture
def store(database: str) -> Iterator[FeatureStore]:
    """A store whose definitions are applied."""
    store = feature_store(database)
    apply_definitions(store)
    yield store
    forget()
