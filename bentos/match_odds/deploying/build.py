"""Build a Bento: this code, the champions, their challengers and known answers, as one versioned folder."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from bentos.match_odds.deploying.child import bentoml_command, bentoml_home, child_environment
from bentos.match_odds.model.champions import VERSIONS
from bentos.match_odds.model.known_answers import KnownAnswer, save_known_answers
from bentos.match_odds.model.served import CHALLENGERS, CHAMPIONS, OWN
from betting_assets.settings import PROJECT_ROOT

NAME = "match_odds"
SERVICE = "bentos.match_odds.service:MatchOdds"
PACKAGES = ("bentos", "betting_assets", "feature_repo")
CODE = "code.txt"
"""File in a Bento's folder `bentos/match_odds`, with the digest of its code."""

LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "*.pyc", "defs", "definitions.py", "cli.py", CHAMPIONS, CHALLENGERS, CODE
)
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
    challengers: Mapping[str, Path] | None = None,
    challenger_versions: Mapping[str, str] | None = None,
) -> str:
    """Build a Bento of the champions and store it in home/bentoml.

    Args:
        champions: market → folder written by `Bundle.save`.
        versions: market → version of that model, as the service will name it.
        known: answers that the started Bento must give, for every market.
        home: the state folder of the platform.
        challengers: like `champions`, for models that score beside them and answer nobody; may lack markets.
        challenger_versions: like `versions`, for `challengers`.

    Returns:
        The tag, match_odds:<time of the build>-<six random digits>; later tags sort after earlier ones.

    Raises:
        ValueError: there is no champion, a model without a version, or a champion without a known answer.
        BuildError: BentoML could not build it.
    """
    known = list(known)
    challengers, challenger_versions = challengers or {}, challenger_versions or {}
    _check(champions, versions, known)
    _check_versions("challenger", challengers, challenger_versions)
    version = f"{dt.datetime.now(dt.UTC):%Y%m%d%H%M%S}-{uuid.uuid4().hex[:6]}"
    with tempfile.TemporaryDirectory(prefix="match-odds-") as staging:
        _stage(Path(staging), champions, versions, known)
        if challengers:
            _stage_models(_service_folder(Path(staging)) / CHALLENGERS, challengers, challenger_versions)
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
    return _service_folder(bento_folder(tag, home) / "src") / CHAMPIONS


def bento_code(tag: str, home: Path) -> str:
    """The digest of the code of the Bento `tag`."""
    return own_code(champions_folder(tag, home).parent)


def own_code(folder: Path = OWN) -> str:
    """The digest of the code in the Bento whose folder `bentos/match_odds` this is, by default of the running one.

    Raises:
        FileNotFoundError: this is no Bento.
    """
    if not (folder / CODE).is_file():
        raise FileNotFoundError(f"{folder / CODE}: no digest of the code here; build a Bento and serve it")
    return (folder / CODE).read_text().strip()


def code_digest(folder: Path) -> str:
    """SHA-256 over the path and the bytes of every file below `folder`: equal exactly where the files are."""
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            digest.update(f"{len(name.encode())} {len(content)} {name}".encode())
            digest.update(content)
    return digest.hexdigest()


def _check(champions: Mapping[str, Path], versions: Mapping[str, str], known: list[KnownAnswer]) -> None:
    if not champions:
        raise ValueError("a Bento needs at least one champion")
    _check_versions("champion", champions, versions)
    for market in champions:
        if not any(answer.market == market for answer in known):
            raise ValueError(f"the champion of {market} has no known answer: its start could not be checked")


def _check_versions(role: str, models: Mapping[str, Path], versions: Mapping[str, str]) -> None:
    for market in models:
        if market not in versions:
            raise ValueError(f"the {role} of {market} has no version")


def _stage(
    staging: Path, champions: Mapping[str, Path], versions: Mapping[str, str], known: Iterable[KnownAnswer]
) -> None:
    for package in PACKAGES:
        shutil.copytree(PROJECT_ROOT / package, staging / package, ignore=LEFT_OUT)
    shutil.copy(PROJECT_ROOT / "requirements.lock", staging)
    folder = _service_folder(staging)
    (folder / CODE).write_text(code_digest(staging))  # before there is anything but code
    _stage_models(folder / CHAMPIONS, champions, versions)
    save_known_answers(known, folder / CHAMPIONS)
    (staging / "bentofile.yaml").write_text(_bentofile(champions, versions))


def _stage_models(folder: Path, models: Mapping[str, Path], versions: Mapping[str, str]) -> None:
    """In the layout that `load_champions` reads."""
    for market, bundle in models.items():
        shutil.copytree(bundle, folder / market)
    (folder / VERSIONS).write_text(json.dumps({market: versions[market] for market in models}, indent=1))


def _service_folder(root: Path) -> Path:
    return root / "bentos" / NAME


def _bentofile(champions: Mapping[str, Path], versions: Mapping[str, str]) -> str:
    named = [f"{market} version {versions[market]}" for market in champions]
    labels = {f"champion-{market.replace('_', '-')}": versions[market] for market in champions}
    return BENTOFILE.format(
        service=SERVICE, name=NAME, description=f"Champions: {', '.join(named)}", labels=json.dumps(labels)
    )


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
