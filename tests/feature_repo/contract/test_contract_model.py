"""Any interleaving of writers and readers, of old and new definitions, answers as a plain dictionary would."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any, ClassVar

from feast import FeatureView
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import FeastType, Float64, Int64, String
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from invented_stores import HOUR, NOON, OpenStore, key_of, stock_fails, value_of, view_of

Age = tuple[dt.datetime, dt.datetime]

EARLIEST = dt.datetime.min.replace(tzinfo=dt.UTC)
DEFINITIONS: list[dict[str, FeastType]] = [
    {"x": Float64},
    {"x": Float64, "y": Float64},
    {"y": Float64, "x": Float64, "label": String},
    {"x": Int64, "label": String},
    {"x": String, "y": Int64},
]
"""What the view is, one after another: features come, go, move and change their type."""

KEYS = st.sampled_from(["a", "b", "c", "d"])
TIMES = st.integers(0, 3).map(lambda hours: NOON + hours * HOUR)
CELLS: dict[FeastType, st.SearchStrategy[Value]] = {
    Float64: st.sampled_from([None, 0.0, 1.5, -2.5]).map(value_of),
    Int64: st.sampled_from([None, 0, 2**60 + 1]).map(value_of),
    String: st.sampled_from([None, "", "é"]).map(value_of),
}
_numbers = itertools.count()


class Writers(RuleBasedStateMachine):
    """Two stores, as two processes hold them, one view, and the dictionary that they should be alike to."""

    open_store: ClassVar[OpenStore]

    def __init__(self) -> None:
        super().__init__()
        self.stores = [type(self).open_store() for _ in range(2)]
        self.name = f"view_{next(_numbers)}"
        self.rows: dict[str, tuple[Age, dict[str, Value]]] = {}
        self.definitions = [0, 0]

    def view(self, which: int) -> FeatureView:
        """The view as one of the two processes knows it."""
        return view_of(self.name, **DEFINITIONS[self.definitions[which]])

    @initialize()
    def apply_first(self) -> None:
        self.stores[0].update(self.view(0))

    @rule(which=st.integers(0, 1), definition=st.integers(0, len(DEFINITIONS) - 1))
    def apply(self, which: int, definition: int) -> None:
        self.definitions[which] = definition
        self.stores[which].update(self.view(which))

    @rule(which=st.integers(0, 1), data=st.data())
    def write(self, which: int, data: st.DataObject) -> None:
        features = DEFINITIONS[self.definitions[which]]
        cells = st.fixed_dictionaries({}, optional={name: CELLS[dtype] for name, dtype in features.items()})
        row = st.tuples(KEYS, cells.filter(bool), TIMES, st.one_of(st.none(), TIMES))
        rows = data.draw(st.lists(row, min_size=1, max_size=4))
        self.stores[which].write(self.view(which), *((key_of(key), *rest) for key, *rest in rows))
        for key, values, event, created in rows:
            age = (event, created or EARLIEST)
            if key not in self.rows or age >= self.rows[key][0]:
                self.rows[key] = (age, values)

    @rule(which=st.integers(0, 1), keys=st.one_of(st.lists(KEYS, min_size=1), st.just(["d", "c", "b", "a"])))
    def read(self, which: int, keys: list[str]) -> None:
        view = self.view(which)
        answers = self.stores[which].read_protos(view, *keys)
        for key, (time, values) in zip(keys, answers, strict=True):
            self.compare(key, time, values, {feature.name for feature in view.features})

    def compare(self, key: str, time: dt.datetime | None, values: dict[str, Any] | None, names: set[str]) -> None:
        if key not in self.rows:
            assert (time, values) == (None, None)
            return
        (event, _), written = self.rows[key]
        assert time == event
        assert values == {name: value for name, value in written.items() if name in names}

    def teardown(self) -> None:
        self.stores[0].teardown(self.view(0))
        for store in self.stores:
            store.close()


@stock_fails("a stale write overwrites a newer one, and a write keeps what it does not bring")
def test_any_interleaving_of_two_processes_answers_as_a_dictionary_would(open_store: OpenStore) -> None:
    keeper = open_store()
    keeper.update(view_of("keeper"))  # so that the schema's other tables are not made anew for each example
    Writers.open_store = staticmethod(open_store)
    phases = [Phase.generate, Phase.shrink] if keeper.kind == "packed" else [Phase.generate]
    examples = settings(
        max_examples=30,
        stateful_step_count=25,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Writers, settings=examples)
