"""New data are tried out before they are trusted: a refit on half of them forecasts the other half."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_tables import Tables, with_frame

from betting_assets.modelling import prequential
from betting_assets.modelling.bundle import Bundle, fit_bundle
from betting_assets.modelling.dataset import Dataset
from betting_assets.modelling.prequential import on_newest
from betting_assets.modelling.variants import VariantName

NAME = VariantName.FUNDAMENTALS


@pytest.fixture(scope="module")
def whole(tables: Tables) -> Dataset:
    return tables.dataset()


@pytest.fixture(scope="module")
def theirs(whole: Dataset) -> Dataset:
    return before(whole, 400)


@pytest.fixture(scope="module")
def champion(theirs: Dataset) -> Bundle:
    return fit_bundle(theirs, "power", "theirs")


def before(dataset: Dataset, rows: int) -> Dataset:
    """The dates before that of row `rows`."""
    day = dataset.frame["match_date"].iloc[rows]
    return replace(dataset, frame=dataset.frame[dataset.frame["match_date"] < day])


def test_a_refit_on_sound_data_is_not_shown_to_be_worse(champion: Bundle, theirs: Dataset, whole: Dataset) -> None:
    found = on_newest(champion, theirs, whole, NAME)
    assert found is not None
    assert 100 <= found.n <= (len(whole) - len(theirs)) / 2 + 10
    assert found.lo <= 0


def test_a_refit_on_spoilt_data_is_shown_to_be_worse(champion: Bundle, theirs: Dataset, whole: Dataset) -> None:
    """Home and away wins are exchanged in the older half of what is new."""
    frame = whole.frame
    days = frame["match_date"]
    new = frame[days > theirs.frame["match_date"].max()]
    older = (days > theirs.frame["match_date"].max()) & (days <= new["match_date"].quantile(0.5, interpolation="lower"))
    spoilt = with_frame(whole, outcome=np.where(older, 2 - frame["outcome"], frame["outcome"]))
    found = on_newest(champion, theirs, spoilt, NAME)
    assert found is not None
    assert found.lo > 0


def test_the_refit_sees_nothing_of_the_matches_it_is_judged_on(
    champion: Bundle, theirs: Dataset, whole: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    fit = prequential.fit_variant
    monkeypatch.setattr(prequential, "fit_variant", lambda rows, name: (seen.append(rows), fit(rows, name))[1])
    found = on_newest(champion, theirs, whole, NAME)
    assert found is not None
    judged = whole.frame.tail(found.n)
    assert not set(seen[0].frame["match_id"]) & set(judged["match_id"])
    assert seen[0].frame["match_date"].max() < judged["match_date"].min()
    assert len(seen[0]) > len(theirs)


def test_few_new_matches_say_nothing(champion: Bundle, theirs: Dataset, whole: Dataset) -> None:
    assert on_newest(champion, theirs, before(whole, 500), NAME) is None
    assert on_newest(champion, theirs, theirs, NAME) is None
