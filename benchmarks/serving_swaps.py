"""Ten hot swaps and ten rollbacks under load: what failed, what mixed two models, and how long a swap takes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serving_generator import GRPC
from serving_load import Load, Measured, Target, run
from serving_speed import targets
from serving_stack import MARKET, WORKERS, Stack

from bentos.match_odds.contract import Answer
from betting_assets.warehouse import deployments, workers
from betting_assets.warehouse.database import connect

LOOK = 0.02
PATIENCE = 20.0
TOGETHER = 2
"""Matches of one request: an answer about one match cannot mix models."""


@dataclass(frozen=True)
class Moves:
    """Attributes:
    confirmed: seconds from the pointer's move until every worker served it; swaps and rollbacks in turn.
    unconfirmed: moves that were not confirmed within `PATIENCE`.
    loads: over HTTP and gRPC at the same time.
    answers: good answers by model version.
    mixed: answers whose probabilities are not all those of the model that they name.
    unnamed: answers that name no version that was ever current.
    """

    confirmed: list[float]
    unconfirmed: int
    loads: list[Measured]
    answers: dict[str, int]
    mixed: int
    unnamed: int

    @property
    def failed(self) -> int:
        return sum(load.failed for load in self.loads)


def swaps(stack: Stack, rate: float, times: int, gap: float) -> Moves:
    """`times` swaps and as many rollbacks, one move every `gap` seconds; half of the rate over each protocol."""
    first = stack.deploy(stack.models[0])
    with stack.bento(follow=True) as running:
        _confirmed(stack.url, first)
        asked = targets(stack, running, TOGETHER)
        load = Load(rate / 2, seconds=gap * (2 * times + 2), warm=2.0, keep=True)
        with ThreadPoolExecutor(2) as threads:
            jobs = [threads.submit(run, target, load) for target in asked]
            time.sleep(load.warm + 2.0)
            seconds = [_move(stack, number % 2 == 0, gap) for number in range(2 * times)]
            loads = [job.result() for job in jobs]
    known = [one for one in seconds if one is not None]
    return _checked(stack, asked, loads, known, len(seconds) - len(known))


def _move(stack: Stack, forwards: bool, gap: float) -> float | None:
    began = time.monotonic()
    number = stack.deploy(stack.models[1]) if forwards else deployments.roll_back(stack.url, "benchmark").id
    moved = time.monotonic()
    confirmed = _confirmed(stack.url, number)
    time.sleep(max(0.0, began + gap - time.monotonic()))
    return time.monotonic() - moved if confirmed is None else confirmed - moved


def _confirmed(url: str, number: int) -> float | None:
    """When every worker said that it serves this deployment."""
    end = time.monotonic() + PATIENCE
    with connect(url, autocommit=True) as connection:
        while time.monotonic() < end:
            serving = [one.deployment_id for one in workers.live_workers(connection)]
            if len(serving) >= WORKERS and set(serving) == {number}:
                return time.monotonic()
            time.sleep(LOOK)
    return None


def _checked(stack: Stack, asked: list[Target], loads: list[Measured], seconds: list[float], unconfirmed: int) -> Moves:
    expected = {model.versions[MARKET]: stack.expected(number) for number, model in enumerate(stack.models)}
    one, other = expected.values()
    assert all(one[match] != other[match] for match in one), "the two models cannot be told apart"
    answers: dict[str, int] = dict.fromkeys(expected, 0)
    mixed = unnamed = 0
    for target, load in zip(asked, loads, strict=True):
        for _, body in load.kept:
            version, probabilities = _read(target.protocol, body)
            if version not in expected:
                unnamed += 1
                continue
            answers[version] += 1
            right = all(expected[version][match] == found for match, found in probabilities.items())
            mixed += not right or len(probabilities) != TOGETHER
    return Moves(seconds, unconfirmed, loads, answers, mixed, unnamed)


def _read(protocol: str, body: bytes) -> tuple[str, Mapping[str, list[float]]]:
    """Version, and probabilities by match."""
    if protocol == GRPC:
        from bentos.match_odds.proto import match_odds_pb2, messages

        answer: Answer = messages.answer(match_odds_pb2.Answer.FromString(body))
        return answer.model_version, {str(one.match_id): one.probabilities for one in answer.predictions}
    found = json.loads(body)
    return found["model_version"], {one["match_id"]: one["probabilities"] for one in found["predictions"]}
