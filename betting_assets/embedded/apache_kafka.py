"""Apache Kafka on this machine without Docker: one node from its Maven artifacts, on loopback.

`make kafka` runs this file in the foreground. docs/brokers.md tells what it promises.
"""

from __future__ import annotations

import argparse
import base64
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from xml.etree import ElementTree

from betting_assets.embedded.broker_process import BrokerProcess, KafkaServerError, kept_port
from betting_assets.embedded.file_lock import file_lock
from betting_assets.settings import PROJECT_ROOT, settings

NAME = "Apache Kafka"
DEPLOY = PROJECT_ROOT / "deploy" / "kafka"
FETCHED = PROJECT_ROOT / ".betting" / "kafka"
OLDEST_JAVA = 17
FETCH_SECONDS = 600
MEMORY = ("-Xms256m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError")
log = logging.getLogger("betting_assets.embedded.apache_kafka")


class ApacheKafka(BrokerProcess):
    """A real broker and controller in one process. Unlike the development broker, it outlives who started it.

    Args:
        folder: keeps the topics, the ports and the log.
        port: 0: a free one, kept in the folder.
    """

    name = NAME
    start_seconds = 120.0

    def _command(self) -> list[str]:
        java = java_program()
        program = [java, *MEMORY, f"-Dlog4j2.configurationFile={DEPLOY / 'log4j2.properties'}"]
        program += ["-cp", str(libraries() / "*")]
        properties = self._write_properties()
        if not (self._data / "meta.properties").exists():
            self._format(program, properties)
        return [*program, "kafka.Kafka", str(properties)]

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _write_properties(self) -> Path:
        """The controller keeps its port, as its quorum remembers it; the broker's may change."""
        text = (DEPLOY / "server.properties").read_text()
        values = {"port": self.port, "controller_port": kept_port(self.folder / "controller-port"), "data": self._data}
        path = self.folder / "server.properties"
        path.write_text(re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), text))
        return path

    def _format(self, program: list[str], properties: Path) -> None:
        """Make the storage of a new cluster."""
        shutil.rmtree(self._data, ignore_errors=True)  # half-made
        command = ["kafka.tools.StorageTool", "format", "--standalone", "-t", new_cluster_id(), "-c", str(properties)]
        done = subprocess.run([*program, *command], capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise KafkaServerError(f"{NAME} cannot format {self._data}: {_gist(done.stderr or done.stdout)}")


def version() -> str:
    """The version that the platform is tested with."""
    return _pom_property("kafka.version")


def libraries() -> Path:
    """The folder of Kafka's jars, fetched once by Maven; it is shared by everything that runs from this checkout.

    Raises:
        KafkaServerError: Maven is missing, or cannot fetch them.
    """
    folder = FETCHED / version()
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / "lock"):
        if not (folder / "libs").exists():
            _fetch(folder)
    return folder / "libs"


def fetched() -> bool:
    """Whether the jars are here, so that a start needs no network."""
    return (FETCHED / version() / "libs").exists()


def java_program() -> str:
    """Raises KafkaServerError when there is no Java that Kafka can run on."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        raise KafkaServerError(f"{NAME} needs Java {OLDEST_JAVA} or newer, and there is no `java`: install a runtime")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr
    found = re.search(r'version "(\d+)', told)
    if found is None or int(found[1]) < OLDEST_JAVA:
        raise KafkaServerError(f"{NAME} needs Java {OLDEST_JAVA} or newer; {java} is {_gist(told)}: set JAVA_HOME")
    return java


def new_cluster_id() -> str:
    """As Kafka writes them: 16 random bytes; a leading dash would be taken for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _fetch(folder: Path) -> None:
    """Into a folder beside, then renamed: half of the jars are never taken for all of them."""
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaServerError(f"{NAME} {version()} is fetched with Maven, and there is no `mvn`: install Maven")
    new = folder / "libs.new"
    shutil.rmtree(new, ignore_errors=True)
    command = [maven, "-B", "-q", "-f", str(DEPLOY / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={new}"]
    log.info("Maven fetches %s %s", NAME, version())
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise KafkaServerError(f"Maven did not fetch {NAME} within {FETCH_SECONDS} s: is there a network?") from None
    if done.returncode or not any(new.glob("kafka_*.jar")):
        raise KafkaServerError(f"Maven cannot fetch {NAME} {version()}: {_gist(done.stdout)}; is there a network?")
    new.rename(folder / "libs")


def _pom_property(name: str) -> str:
    found = ElementTree.parse(DEPLOY / "pom.xml").find(f".//{{*}}{name}")
    if found is None or not found.text:
        raise KafkaServerError(f"{DEPLOY / 'pom.xml'} has no property {name}")
    return found.text


def _gist(text: str) -> str:
    """The first line that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if "ERROR" in line or "Exception" in line]
    return (wrong or lines or ["(it says nothing)"])[0][:300]


def main() -> None:
    """Run it on the settings' port until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Apache Kafka on this machine, from its Maven artifacts.")
    parser.add_argument("--fetch", action="store_true", help="only fetch it")
    only_fetch: bool = parser.parse_args().fetch
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if only_fetch:
        log.info("%s %s is in %s", NAME, version(), libraries().relative_to(PROJECT_ROOT))
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    broker = ApacheKafka(settings().home / "apache-kafka", settings().kafka_port)
    if broker.pid is not None:
        raise KafkaServerError(f"{NAME} runs already (pid {broker.pid}) on {broker.servers}")
    try:
        log.info("%s %s answers on %s; its log: %s", NAME, version(), broker.start(), broker.log_file)
        while not stop.wait(0.5):
            if broker.pid is None:
                raise KafkaServerError(f"{NAME} has ended by itself: see {broker.log_file}")
    finally:
        broker.stop()


if __name__ == "__main__":
    try:
        main()
    except KafkaServerError as problem:
        sys.exit(str(problem))
