"""A Bento knows its code, and holds challengers beside the champions; equal code has an equal digest, other has not."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_models import VERSIONS, invented_bundle

from bentos.match_odds.deploying.build import bento_code, build_bento, champions_folder, code_digest, own_code
from bentos.match_odds.model.known_answers import KnownAnswer
from bentos.match_odds.model.served import load_served
from betting_assets.modelling.bundle import Bundle

Trained = dict[str, tuple[Bundle, pd.DataFrame]]
Files = dict[str, bytes]

names = st.sampled_from(["a", "b", "c d", "e.py", "é", "1 2 a"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
files = st.dictionaries(paths, st.binary(max_size=20), max_size=4).filter(
    lambda found: not any(other.startswith(f"{path}/") for path in found for other in found)
)


def digest(folder: Path, content: Files) -> str:
    """Of these files, written in the order of the dict."""
    for path, data in content.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return code_digest(folder)


@settings(deadline=None)  # it writes files
@given(one=files, two=files)
def test_digests_are_equal_exactly_where_paths_and_bytes_are(
    tmp_path_factory: pytest.TempPathFactory, one: Files, two: Files
) -> None:
    make = tmp_path_factory.mktemp
    backwards = dict(reversed(one.items()))
    assert digest(make("one"), one) == digest(make("backwards"), backwards)
    assert (digest(make("one"), one) == digest(make("two"), two)) == (one == two)


@pytest.mark.services
def test_two_bentos_of_the_same_code_and_other_models_have_one_digest(
    tag: str, home: Path, trained: Trained, known: list[KnownAnswer], tmp_path: Path
) -> None:
    folders = {market: bundle.save(tmp_path / market) for market, (bundle, _) in trained.items()}
    challenger, _ = invented_bundle("1x2", seed=5)
    versions = {"1x2": "10", "over_under": "11"}
    rival = {"1x2": challenger.save(tmp_path / "challenger")}
    other = build_bento(folders, versions, known, home, rival, {"1x2": "12"})
    assert bento_code(other, home) == bento_code(tag, home)
    assert len(bento_code(tag, home)) == 64

    served = load_served(other, champions_folder(other, home).parent, 4)
    assert {market: one.version for market, one in served.champions.items()} == versions
    assert {market: one.version for market, one in served.challengers.items()} == {"1x2": "12"}
    assert served.challengers["1x2"].bundle.data_hash == challenger.data_hash
    assert load_served(tag, champions_folder(tag, home).parent).challengers == {}
    labels = json.dumps((champions_folder(tag, home).parents[3] / "bento.yaml").read_text())
    assert f"version {VERSIONS['1x2']}" in labels


def test_a_challenger_without_a_version_is_not_built(
    trained: Trained, known: list[KnownAnswer], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="the challenger of 1x2 has no version"):
        build_bento(dict.fromkeys(trained, tmp_path), VERSIONS, known, tmp_path, {"1x2": tmp_path})


def test_a_source_tree_is_no_bento_and_has_no_digest_of_its_own() -> None:
    with pytest.raises(FileNotFoundError, match="build a Bento and serve it"):
        own_code()
