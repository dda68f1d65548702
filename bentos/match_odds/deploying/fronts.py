"""What stands on the public ports: one Bento itself, or HAProxy with one Bento behind it and room for the next."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from bentos.match_odds.client import MatchOddsError
from bentos.match_odds.deploying.haproxy import HAProxy, HAProxyError, Slot
from bentos.match_odds.deploying.runner import RunningBento, StartError, end_leftovers
from bentos.match_odds.front.api_keys import check_exposure
from bentos.match_odds.front.tls import tls_files
from bentos.match_odds.model.known_answers import WrongAnswerError
from betting_assets.embedded.ports import free_port
from betting_assets.settings import Settings
from betting_assets.warehouse import workers
from betting_assets.warehouse.deployments import Deployment

NAMES = ("serving", "blue", "green", "haproxy")
CONFIRM_SECONDS = 60.0
"""How long the workers of a new Bento may take after the first of them is ready."""

DRAIN_SECONDS = 10.0
"""How long requests may go on in a Bento that gets no new ones; then it is stopped, which lets them go on a while."""

log = logging.getLogger("follower")


class Front(Protocol):
    """Serves one deployment on the public ports.

    Attributes:
        keeps_the_old: whether what serves goes on when the next one cannot be started.
    """

    keeps_the_old: bool

    @property
    def serves(self) -> Deployment | None:
        """The deployment whose Bento runs; None also when that has died."""

    def serve(self, deployment: Deployment) -> None:
        """Make its Bento the one that serves. Raises StartError: it does not."""

    def look_after(self) -> None:
        """For every second: what must go on while nothing is deployed."""

    def stop(self) -> None:
        """Let requests end, and leave nothing running."""


class Alone:
    """A Bento on the public ports. Between two of them nothing answers."""

    keeps_the_old = False

    def __init__(self, url: str, home: Path, settings: Settings) -> None:
        self._url, self._home, self._settings = url, home, settings
        self._bento: RunningBento | None = None
        self._deployment: Deployment | None = None

    @property
    def serves(self) -> Deployment | None:
        return self._deployment if self._bento is not None and self._bento.pid is not None else None

    def serve(self, deployment: Deployment) -> None:
        self.stop()
        config = self._settings
        bento = RunningBento(
            deployment.bento_tag,
            config.serving_port,
            self._home,
            self._url,
            grpc_port=config.grpc_port,
            workers=config.serving_workers,
            follow=True,
            host=config.serving_host,
            tls=tls_files(config),
            api_keys=config.api_keys_file,
            name="serving",
        )
        bento.start()
        self._bento, self._deployment = bento, deployment

    def look_after(self) -> None:
        if self._bento is not None:
            self._bento.bound_log()

    def stop(self) -> None:
        if self._bento is not None:
            self._bento.stop()
            self._bento = None


class BlueGreen:
    """HAProxy on the public ports, and behind it two slots: the next Bento starts in the free one.

    It is let in when all its workers serve, and known answers are right; then the other one is drained and stopped.
    """

    keeps_the_old = True

    def __init__(self, url: str, home: Path, settings: Settings) -> None:
        self._url, self._home, self._settings = url, home, settings
        self._slots = (Slot("blue", free_port(), free_port()), Slot("green", free_port(), free_port()))
        self._proxy = HAProxy(
            home, settings.serving_host, settings.serving_port, settings.grpc_port, self._slots, tls_files(settings)
        )
        self._slot: Slot | None = None
        self._bento: RunningBento | None = None
        self._deployment: Deployment | None = None

    @property
    def serves(self) -> Deployment | None:
        return self._deployment if self._bento is not None and self._bento.pid is not None else None

    def serve(self, deployment: Deployment) -> None:
        self.look_after()
        slot = self._slots[1] if self._slot == self._slots[0] else self._slots[0]
        bento = self._start(slot, deployment)
        try:
            self._proxy.let_in(slot.name)
        except HAProxyError:
            self._proxy.shut_out(slot.name)
            bento.stop()
            raise
        old_slot, old = self._slot, self._bento
        self._slot, self._bento, self._deployment = slot, bento, deployment
        if old is not None and old_slot is not None:
            self._retire(old_slot, old)

    def look_after(self) -> None:
        """HAProxy runs, and no log grows without end."""
        if self._proxy.pid is None:
            self._proxy.start(self._slot.name if self._slot is not None else None)
        self._proxy.log.bound()
        if self._bento is not None:
            self._bento.bound_log()

    def stop(self) -> None:
        if self._bento is not None:
            self._bento.stop()
            self._bento = None
        self._proxy.stop()

    def _start(self, slot: Slot, deployment: Deployment) -> RunningBento:
        config = self._settings
        bento = RunningBento(
            deployment.bento_tag,
            slot.port,
            self._home,
            self._url,
            grpc_port=slot.grpc_port,
            workers=config.serving_workers,
            follow=True,
            api_keys=config.api_keys_file,
            name=slot.name,
        )
        bento.start(meanwhile=self.look_after)
        try:
            self._prove(bento, deployment)
        except BaseException:
            bento.stop()
            raise
        return bento

    def _prove(self, bento: RunningBento, deployment: Deployment) -> None:
        """Every worker says that it serves, which it does after its own test; and over HTTP the answers are right."""
        deadline = time.monotonic() + CONFIRM_SECONDS
        while (left := unconfirmed(self._url, bento, deployment)) > 0:
            if time.monotonic() > deadline:
                raise StartError(f"{bento.tag}: {left} of {bento.workers} workers do not serve")
            self.look_after()
            time.sleep(0.2)
        if self._settings.api_keys_file is not None:
            return  # no key of theirs is known here
        try:
            bento.ask_known()
        except (WrongAnswerError, MatchOddsError) as error:
            raise StartError(f"{bento.tag}: {error}") from error
        except ValidationError:
            log.warning("%s answers in a form newer than this process: its workers' own tests have to do", bento.tag)

    def _retire(self, slot: Slot, bento: RunningBento) -> None:
        """Let what it answers end; clients of streams come back, to the other one."""
        deadline = time.monotonic() + DRAIN_SECONDS
        try:
            self._proxy.drain(slot.name)
            while self._proxy.sessions(slot.name) and time.monotonic() < deadline:
                time.sleep(0.1)
        except HAProxyError as error:  # a new HAProxy knows the new slot only
            log.warning("%s was not drained: %s", slot.name, error)
        finally:
            bento.stop()
        with contextlib.suppress(HAProxyError):
            self._proxy.shut_out(slot.name)


def make_front(url: str, home: Path, settings: Settings) -> Front:
    """As the setting `proxy` says; what an earlier one has left running is ended first.

    Raises:
        ExposureError: other machines would be let in without API keys. Behind a proxy no worker notices that itself.
    """
    check_exposure(settings)
    for name in NAMES:
        end_leftovers(home, name)
    return BlueGreen(url, home, settings) if settings.proxy else Alone(url, home, settings)


def unconfirmed(url: str, bento: RunningBento, deployment: Deployment) -> int:
    """How many workers have not yet said, in serving.worker, that they serve a deployment.

    Raises:
        StartError: one refused `deployment`, with its reason.
    """
    if not deployment.code:  # from before there were such workers
        return 0
    names = {f"{socket.gethostname()}:{pid}" for pid in bento.worker_pids()}
    ours = [worker for worker in workers.live(url) if worker.worker in names]
    for worker in ours:
        if worker.refused_id == deployment.id:
            raise StartError(f"{bento.tag}: worker {worker.worker} refused it: {worker.reason}")
    return bento.workers - sum(worker.deployment_id is not None for worker in ours)
