"""The command as a user runs it: a process of its own, with a state folder, a working folder and ports of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

COMMAND = str(Path(sys.executable).with_name("betting"))


@dataclass(frozen=True)
class Terminal:
    """A user's shell: `folder` is the working folder, `home` the state folder."""

    folder: Path
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return Path(self.environment["BETTING_HOME"])

    def run(self, *arguments: str, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In the background; output and errors together in `self.output`."""
        with self.output.open("a") as output:
            return subprocess.Popen(
                [COMMAND, *arguments], cwd=self.folder, env=self.environment, stdout=output, stderr=output, text=True
            )

    @property
    def output(self) -> Path:
        return self.folder / "terminal.txt"

    def processes(self) -> list[psutil.Process]:
        """Every process that works for this state folder or the demo's beside it, the servers of databases included."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        mark = str(self.home.parent)
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            texts = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False
        return any(mark in text for text in texts)


def assert_one_line(result: subprocess.CompletedProcess[str], *expected: str) -> None:
    """A user's mistake: exit code 2, one line that says what, where and how to mend it, and nothing else."""
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert [line.startswith("betting: ") for line in lines] == [True], result.stderr
    for text in expected:
        assert text in lines[0]
    assert result.stdout == ""
