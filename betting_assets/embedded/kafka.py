"""The embedded development broker: Kafka's protocol on loopback, for laptops and tests.

It is not Apache Kafka: one process, one replica, no transactions, no security. An acknowledged record is in the hands
of the operating system, so it survives any end of the process, kill -9 too; the disk follows about every second, so a
power cut may cost about the last second. docs/brokers.md tells more.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from betting_assets.embedded.broker_process import (
    BrokerProcess,
    KafkaServerError,
    kept_port,
    python,
    remember,
    taken,
)
from betting_assets.embedded.ports import HOST, is_free

NAME = "the development broker"
MOST_FILES = 4096
log = logging.getLogger("betting_assets.embedded.kafka")


class EmbeddedKafka(BrokerProcess):
    """The development broker in a process of its own, which ends with ours.

    Args:
        folder: keeps the topics.
        port: 0: a free one, kept in the folder.
    """

    name = NAME

    def _command(self) -> list[str]:
        where = ("--folder", str(self.folder), "--port", str(self.port))
        return python("betting_assets.embedded.kafka", *where, "--until-input-ends")


def run(folder: Path, port: int = 0, *, until_input_ends: bool = False) -> None:
    """Be the broker of `folder` until SIGTERM or SIGINT.

    Raises:
        KafkaServerError: another one has the folder, or the port is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or kept_port(folder / "port")
    with _alone(folder):
        if not is_free(port):
            raise KafkaServerError(taken(NAME, port))
        remember(folder, os.getpid())
        _allow_files()
        try:
            asyncio.run(_serve(folder, port, until_input_ends))
        except OSError as error:
            raise KafkaServerError(f"{NAME} in {folder}: {error.strerror or error}") from error


async def _serve(folder: Path, port: int, until_input_ends: bool) -> None:
    from betting_assets.embedded.broker.server import Broker

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_input_ends:
        threading.Thread(target=_wait_for_end_of_input, args=(loop, stop), daemon=True).start()
    await Broker(folder, HOST, port).serve(stop)
    log.info("development broker has stopped")


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    loop.call_soon_threadsafe(stop.set)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KafkaServerError(f"{folder} is in use by another development broker: stop that first") from None
        yield


def _allow_files() -> None:
    """Connections need more open files than a shell usually allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def main() -> None:
    parser = argparse.ArgumentParser(description="The embedded development broker; not Apache Kafka.")
    parser.add_argument("--folder", type=Path, required=True, help="keeps the topics")
    parser.add_argument("--port", type=int, default=0, help="on loopback; 0: a free one, kept in the folder")
    parser.add_argument("--until-input-ends", action="store_true", help="stop when the standard input is closed")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        run(chosen.folder.resolve(), chosen.port, until_input_ends=chosen.until_input_ends)
    except KafkaServerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
