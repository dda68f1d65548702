"""The platform's lock: one platform per state folder, and a start that is refused says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from betting_assets.embedded.platform_lock import PlatformLock, PlatformLockError, holder
from betting_assets.embedded.ports import PortsError, free_port

HOLD = """
import pathlib, sys, time
from betting_assets.embedded.platform_lock import PlatformLock
with PlatformLock(pathlib.Path(sys.argv[1]), {"dagster": int(sys.argv[2])}):
    print("held", flush=True)
    time.sleep(600)
"""


def hold(state: Path, port: int) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(state), str(port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_start_is_refused_and_told_how_to_stop_the_first(tmp_path: Path) -> None:
    with hold(tmp_path, free_port()) as first:
        refusal = (
            f"^the platform already runs, pid {first.pid}, since 20.*: stop it with Ctrl-C there or `kill {first.pid}`$"
        )
        with pytest.raises(PlatformLockError, match=refusal), PlatformLock(tmp_path, {}):
            pass
        first.kill()


def test_the_lock_of_a_killed_platform_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hold(tmp_path, free_port()) as first:
        first.send_signal(signal.SIGKILL)
    assert holder(tmp_path) is None
    with PlatformLock(tmp_path, {}):
        assert [record.getMessage().split(",")[0] for record in caplog.records] == [
            f"the last platform (pid {first.pid}"
        ]


def test_others_can_read_who_holds_it_and_on_which_ports(tmp_path: Path) -> None:
    port = free_port()
    assert holder(tmp_path) is None
    with PlatformLock(tmp_path, {"dagster": port}):
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.ports) == (os.getpid(), {"dagster": port})
    assert holder(tmp_path) is None


def test_a_proper_stop_leaves_nothing_to_take_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with PlatformLock(tmp_path, {}):
            pass
    assert caplog.records == []


def test_a_start_that_fails_frees_the_lock(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(PortsError), PlatformLock(tmp_path, {"dagster": port, "mlflow": port}):
        pass
    with PlatformLock(tmp_path, {}):
        pass


def test_a_lock_that_a_crash_cut_off_does_not_prevent_a_start(tmp_path: Path) -> None:
    (tmp_path / "platform.lock").write_text('{"pid": 1')
    assert holder(tmp_path) is None
    with PlatformLock(tmp_path, {}):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_another_user_is_refused_in_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(PlatformLockError, match="set BETTING_HOME"), PlatformLock(tmp_path, {}):
        pass
