"""The embedded PostgreSQL: one server for a folder, whatever happens to it, and nobody in without the password."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from betting_assets.embedded.postgres import EmbeddedPostgres, PostgresError
from betting_assets.settings import PROJECT_ROOT

pytestmark = pytest.mark.services
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand the server to another user")

START = "import sys, pathlib; from betting_assets.embedded.postgres import EmbeddedPostgres as E; "
START += "s = E(pathlib.Path(sys.argv[1])); print(s.start(), s.pid)"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can walk to, unlike pytest's own, and that is short."""
    path = Path(tempfile.mkdtemp(prefix="betting-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedPostgres]:
    path = Path(tempfile.mkdtemp(prefix="betting-test-"))
    path.chmod(0o755)
    server = EmbeddedPostgres(path / "postgres")
    yield server
    server.delete()
    shutil.rmtree(path)


@pytest.fixture
def server(shared: EmbeddedPostgres) -> EmbeddedPostgres:
    """A running server, whatever the test before did to it."""
    with psycopg.connect(shared.start()) as conn:
        conn.execute("DROP TABLE IF EXISTS note")
    return shared


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(query).fetchall()


def write_note(url: str, note: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        conn.execute("INSERT INTO note VALUES (%s)", [note])


def setting(url: str, name: str) -> object:
    return rows(url, f"SHOW {name}")[0][0]


def test_a_wrong_password_is_refused_and_logins_use_scram(server: EmbeddedPostgres) -> None:
    password = json.loads((server.state_dir / "connection.json").read_text())["password"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url.replace(password, "wrong"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(server.url.replace(f":{password}", ""))
    methods = {method for (method,) in rows(server.url, "SELECT auth_method FROM pg_hba_file_rules")}
    assert methods == {"scram-sha-256"}


def test_the_password_is_for_its_owner_only(server: EmbeddedPostgres) -> None:
    assert stat.S_IMODE((server.state_dir / "connection.json").stat().st_mode) == 0o600
    password = json.loads((server.state_dir / "connection.json").read_text())["password"]
    assert not any(password in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    assert password not in server.log_file.read_text()


def test_the_server_listens_on_loopback_only_and_speaks_utc(server: EmbeddedPostgres) -> None:
    listening = [c.laddr.ip for c in psutil.Process(server.pid).net_connections("inet") if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]
    assert setting(server.url, "unix_socket_directories") == ""
    assert setting(server.url, "timezone") == "UTC"
    assert setting(server.url, "server_encoding") == "UTF8"
    assert setting(server.url, "synchronous_commit") == "on"
    assert setting(server.url, "fsync") == "on"


def test_starting_again_gives_the_same_server(server: EmbeddedPostgres) -> None:
    pid, url = server.pid, server.url
    assert server.start() == url
    other = EmbeddedPostgres(server.state_dir)
    assert other.start() == url
    assert other.pid == server.pid == pid


def test_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    command = [sys.executable, "-c", START, str(folder / "postgres")]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: subprocess.check_output(command, cwd=PROJECT_ROOT, text=True), range(3)))
    EmbeddedPostgres(folder / "postgres").delete()
    assert len(set(answers)) == 1


def test_the_server_outlives_the_process_that_started_it(folder: Path) -> None:
    command = [sys.executable, "-c", START, str(folder / "postgres")]
    url = subprocess.check_output(command, cwd=PROJECT_ROOT, text=True).split()[0]
    server = EmbeddedPostgres(folder / "postgres")
    assert server.is_running()
    assert rows(url, "SELECT 1") == [(1,)]
    server.delete()


def test_a_restart_keeps_port_password_and_data(server: EmbeddedPostgres) -> None:
    url = server.url
    write_note(url, "kept")
    server.stop()
    assert not server.is_running()
    server.stop()
    assert server.start() == url
    assert rows(url, "SELECT text FROM note") == [("kept",)]


def test_committed_rows_survive_a_sigkill(server: EmbeddedPostgres) -> None:
    write_note(server.url, "committed")
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    url = server.start()
    assert server.pid != pid
    assert rows(url, "SELECT text FROM note") == [("committed",)]


def test_a_port_that_somebody_took_is_chosen_anew(server: EmbeddedPostgres) -> None:
    before = server.url
    write_note(before, "kept")
    server.stop()
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", int(psycopg.conninfo.conninfo_to_dict(before)["port"])))
        thief.listen()
        after = server.start()
    assert after != before
    assert server.url == after
    assert rows(after, "SELECT text FROM note") == [("kept",)]


def test_a_stale_pid_that_now_belongs_to_another_program_does_not_stop_the_start(server: EmbeddedPostgres) -> None:
    data = Path(json.loads((server.state_dir / "connection.json").read_text())["data"])
    server.stop()
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    assert not server.is_running()
    assert rows(server.start(), "SELECT 1") == [(1,)]


def test_a_first_start_that_was_cut_off_is_done_anew(folder: Path) -> None:
    half = folder / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder / "postgres") as server:
        assert rows(server.url, "SELECT 1") == [(1,)]
    server.delete()


def test_a_lost_password_is_said_and_no_data_is_overwritten(server: EmbeddedPostgres) -> None:
    server.stop()
    kept = (server.state_dir / "connection.json").rename(server.state_dir / "kept")
    with pytest.raises(PostgresError, match=r"password is lost: put .*connection\.json back"):
        server.start()
    kept.rename(server.state_dir / "connection.json")
    server.start()


def test_a_server_that_cannot_start_says_why_in_one_line(server: EmbeddedPostgres) -> None:
    server.stop()
    broken = EmbeddedPostgres(server.state_dir, options={"shared_buffers": "nonsense"})
    with pytest.raises(PostgresError, match="shared_buffers") as error:
        broken.start()
    assert "\n" not in str(error.value)


def test_a_url_is_not_made_up_before_the_first_start(folder: Path) -> None:
    with pytest.raises(PostgresError, match="start it first"):
        _ = EmbeddedPostgres(folder / "nothing").url


def test_deleting_leaves_neither_process_nor_file(server: EmbeddedPostgres) -> None:
    pid, data = server.pid, Path(json.loads((server.state_dir / "connection.json").read_text())["data"])
    assert pid is not None
    server.delete()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert not data.exists()
    assert not server.state_dir.exists()


@only_root
def test_root_hands_the_server_to_an_unprivileged_user(server: EmbeddedPostgres) -> None:
    assert psutil.Process(server.pid).uids().effective != 0
    assert psutil.Process(server.pid).uids().saved != 0


@only_root
def test_a_folder_that_the_servers_user_cannot_walk_to_works_too(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    server = EmbeddedPostgres(folder / "closed" / "postgres")
    write_note(server.start(), "kept")
    data = Path(json.loads((server.state_dir / "connection.json").read_text())["data"])
    assert not data.is_relative_to(folder)
    server.stop()
    assert rows(server.start(), "SELECT text FROM note") == [("kept",)]
    server.delete()
    assert not data.exists()


def _interpreter_for(user: dict[str, Any]) -> str:
    """This interpreter, or the system's of the same version when this one lies below a closed folder (/root)."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            subprocess.run([candidate, "-c", ""], check=True, cwd="/", **user)
            return candidate
        except (PermissionError, FileNotFoundError):
            continue
    pytest.skip("an ordinary user cannot run this interpreter: it lies below a closed folder")


@only_root
def test_an_ordinary_user_runs_the_server_as_itself(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    check = f"{START}; import psutil; print(psutil.Process(s.pid).uids().effective); s.delete(); print(s.is_running())"
    user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    environment = {"HOME": str(folder), "PYTHONPATH": os.pathsep.join(p for p in sys.path if "site-packages" in p)}
    done = subprocess.run(
        [_interpreter_for(user), "-B", "-c", check, str(folder / "state" / "postgres")],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **user,
    )
    assert done.stdout.split()[2:] == [str(nobody.pw_uid), "False"], done.stderr
