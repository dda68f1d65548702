"""`betting evaluate`: a table for people, strict JSON for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from invented_files import write_season
from terminals import Terminal

BASELINES = {"base_rate", "market_pre", "market_close"}
MODELS = {"fundamentals", "fundamentals_linear", "market_residual", "odds_as_features"}
REAL = Path(os.environ.get("BETTING_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture(scope="module")
def scores(terminal: Terminal) -> dict[str, Any]:
    """One simulated league, its newest season tested; the folder of the file is made."""
    result = terminal.run("evaluate", "--leagues", "SIM1", "--json", "out/scores.json", BETTING_TEST_SEASONS="1")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    (terminal.folder / "table.txt").write_text(result.stdout)
    text = (terminal.folder / "out" / "scores.json").read_text()
    return dict(json.loads(text, parse_constant=_refuse))


def test_every_model_and_baseline_is_scored_on_the_same_matches(scores: dict[str, Any]) -> None:
    assert set(scores) == BASELINES | MODELS
    assert len({one["n"] for one in scores.values()}) == 1
    for one in scores.values():
        assert {"log_loss", "rps", "brier", "ece", "ece_band", "n_dropped"} <= set(one)
        for against in ("diff_vs_market_pre", "diff_vs_market_close"):
            for metric in ("log_loss", "rps"):
                interval = one[against][metric]
                assert interval["lo"] <= interval["mean"] <= interval["hi"]


def test_a_paired_difference_is_the_difference_of_the_means(scores: dict[str, Any]) -> None:
    for one in scores.values():
        difference = one["log_loss"] - scores["market_pre"]["log_loss"]
        assert one["diff_vs_market_pre"]["log_loss"]["mean"] == pytest.approx(difference, abs=1e-9)


def test_the_table_shows_whole_names_within_100_columns(terminal: Terminal, scores: dict[str, Any]) -> None:
    lines = (terminal.folder / "table.txt").read_text().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 100
    for name in scores:
        assert any(line.split()[:1] == [name] for line in lines)


def test_a_season_without_earlier_ones_cannot_be_tested(terminal: Terminal) -> None:
    write_season(terminal.folder / "one")
    result = terminal.run("evaluate", "--data", "one", "--json", "one.json")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("betting: no season has 300 matches")
    assert not (terminal.folder / "one.json").exists()


@pytest.mark.parametrize("season", ["nan", "9999"])
def test_an_unknown_test_season_is_named_beside_those_that_exist(terminal: Terminal, season: str) -> None:
    write_season(terminal.folder / "one")
    result = terminal.run("evaluate", "--data", "one", "--test-seasons", season)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"betting: test season {season} is not in the data; it has 1718"


def test_a_folder_of_fixtures_alone_cannot_be_evaluated(terminal: Terminal) -> None:
    folder = terminal.folder / "fixtures"
    folder.mkdir()
    (folder / "fixtures.csv").write_text("Div,Date,HomeTeam,AwayTeam\nE0,05/08/2017,Ashby,Brill\n")
    result = terminal.run("evaluate", "--data", "fixtures")
    assert result.returncode == 2
    assert "add earlier seasons" in result.stderr


@pytest.mark.real_data
@pytest.mark.skipif(not (REAL / "A_football").exists(), reason="no real data: set BETTING_TEST_DATA")
def test_on_real_files_the_market_beats_the_base_rate(terminal: Terminal) -> None:
    data = str((REAL / "A_football" / "mmz4281").resolve())
    result = terminal.run(
        "evaluate", "--data", data, "--leagues", "SP1", "--test-seasons", "2122", "--json", "real.json"
    )
    assert result.returncode == 0, result.stderr
    scores = json.loads((terminal.folder / "real.json").read_text())
    assert scores["base_rate"]["diff_vs_market_pre"]["log_loss"]["lo"] > 0
    assert scores["market_pre"]["n"] == 380
