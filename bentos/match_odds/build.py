"""Build a Bento: this code, the champions, and their known answers, as one versioned folder."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from bentos.match_odds.champions import VERSIONS
from bentos.match_odds.child import bentoml_command, bentoml_home, child_environment
from bentos.match_odds.known_answers import KnownAnswer, save_known_answers
from betting_assets.settings import PROJECT_ROOT

NAME = "match_odds"
SERVICE = "bentos.match_odds.service:MatchOdds"
PACKAGES = ("bentos", "betting_assets", "feature_repo")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "defs", "definitions.py", "cli.py", "champions")
TIMEOUT = 120

BENTOFILE = """\
service: "{service}"
name: {name}
description: "{description}"
labels: {labels}
include: ["*"]
python:
  requirements_txt: requirements.lock
  lock_packages: false
"""


class BuildError(RuntimeError):
    """`bentoml build` failed; the message holds its last lines."""


def build_bento(
    champions: Mapping[str, Path],
    versions: Mapping[str, str],
    known: Iterable[KnownAnswer],
    home: Path,
) -> str:
    """Build a Bento of the champions and store it in home/bentoml.

    Args:
        champions: market → folder written by `Bundle.save`.
        versions: market → version of that model, as the service will name it.
        known: answers that the started Bento must give, for every market.
        home: the state folder of the platform.

    Returns:
        The tag, match_odds:<time of the build>-<six random digits>; later tags sort after earlier ones.

    Raises:
        ValueError: there is no champion, or one without a version or a known answer.
        BuildError: BentoML could not build it.
    """
    known = list(known)
    _check(champions, versions, known)
    version = f"{dt.datetime.now(dt.UTC):%Y%m%d%H%M%S}-{uuid.uuid4().hex[:6]}"
    with tempfile.TemporaryDirectory(prefix="match-odds-") as staging:
        _stage(Path(staging), champions, versions, known)
        command = bentoml_command("build", "--version", version, staging)
        done = subprocess.run(
            command,
            cwd=staging,
            env=child_environment(home),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    if done.returncode != 0:
        raise BuildError(f"bentoml build failed:\n{_tail(done.stdout + done.stderr)}")
    return f"{NAME}:{version}"


def bento_folder(tag: str, home: Path) -> Path:
    """Where the Bento `tag` lies."""
    name, _, version = tag.partition(":")
    return bentoml_home(home) / "bentos" / name / version


def champions_folder(tag: str, home: Path) -> Path:
    """The champions inside the Bento `tag`, with their known answers."""
    return bento_folder(tag, home) / "src" / "bentos" / NAME / "champions"


def _check(champions: Mapping[str, Path], versions: Mapping[str, str], known: list[KnownAnswer]) -> None:
    if not champions:
        raise ValueError("a Bento needs at least one champion")
    for market in champions:
        if market not in versions:
            raise ValueError(f"the champion of {market} has no version")
        if not any(answer.market == market for answer in known):
            raise ValueError(f"the champion of {market} has no known answer: its start could not be checked")


def _stage(
    staging: Path, champions: Mapping[str, Path], versions: Mapping[str, str], known: Iterable[KnownAnswer]
) -> None:
    for package in PACKAGES:
        shutil.copytree(PROJECT_ROOT / package, staging / package, ignore=LEFT_OUT)
    shutil.copy(PROJECT_ROOT / "requirements.lock", staging)
    folder = staging / "bentos" / NAME / "champions"
    for market, bundle in champions.items():
        shutil.copytree(bundle, folder / market)
    (folder / VERSIONS).write_text(json.dumps({market: versions[market] for market in champions}, indent=1))
    save_known_answers(known, folder)
    (staging / "bentofile.yaml").write_text(_bentofile(champions, versions))


def _bentofile(champions: Mapping[str, Path], versions: Mapping[str, str]) -> str:
    named = [f"{market} version {versions[market]}" for market in champions]
    labels = {f"champion-{market.replace('_', '-')}": versions[market] for market in champions}
    return BENTOFILE.format(
        service=SERVICE, name=NAME, description=f"Champions: {', '.join(named)}", labels=json.dumps(labels)
    )


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
