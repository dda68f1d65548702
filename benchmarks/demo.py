"""The demo as a user runs it, on a fresh state folder: seconds by stage, peak memory of every process, and how long a
planted drift took to a retrained model, live, with the requests that failed meanwhile.

python benchmarks/demo.py [--quick] [--json FILE]

Memory is the resident set, sampled four times a second; pages that processes share count in each of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from _common import arguments, print_machine, write_json

COMMAND = Path(sys.executable).with_name("betting")
SAMPLE_SECONDS = 0.25
MB = 1024 * 1024
DRIFT_TO_LIVE_SECONDS = 120
LIVE = ("seconds_from_drift_to_live", "asked_meanwhile", "failed_meanwhile", "failures", "failed_runs", "timeline")


def kind(process: psutil.Process) -> str:
    """What a process is, in a word or two."""
    line = " ".join(process.cmdline())
    if "postgres" in process.name():
        return "PostgreSQL"
    for mark, name in {"match_odds.deploying.follower": "follower", "bentoml": "Bento", "match_odds": "Bento"}.items():
        if mark in line:
            return name
    return "demo" if "betting" in line else process.name()


def belongs(process: psutil.Process, home: str) -> bool:
    """The demo hands its state folder to all its processes; the servers of PostgreSQL are named by theirs."""
    texts = [*process.cmdline(), process.environ().get("BETTING_HOME", ""), process.cwd()]
    return any(home in text for text in texts)


def sample(home: str, peaks: dict[str, float], whole: list[float]) -> None:
    """Update the peak of each kind's largest process, and append the sum over all."""
    total = 0.0
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and belongs(process, home):
                memory = process.memory_info().rss / MB
                total += memory
                name = kind(process)
                peaks[name] = max(peaks.get(name, 0.0), memory)
        except psutil.Error:
            continue  # it ended while we looked
    whole.append(total)


def measure(quick: bool) -> dict[str, Any]:
    peaks: dict[str, float] = {}
    whole: list[float] = []
    with tempfile.TemporaryDirectory(prefix="betting-benchmark-") as folder:
        Path(folder).chmod(0o755)  # for PostgreSQL's own user, when root runs this
        command = [str(COMMAND), "demo", *(["--leagues", "SIM1"] if quick else [])]
        began = time.perf_counter()
        variables = {name: value for name, value in os.environ.items() if not name.startswith("BETTING_")}
        variables["BETTING_HOME"] = str(Path(folder) / "platform")
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            sample(folder, peaks, whole)
            time.sleep(SAMPLE_SECONDS)
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            sys.exit(f"the demo ended with code {process.returncode}; its last words are above")
        summary = json.loads((Path(folder) / "reports" / "summary.json").read_text())
    return {
        "leagues": summary["leagues"],
        "matches": summary["matches"],
        "seconds": summary["seconds"],
        "whole_seconds": seconds,
        "peak_mb": {name: round(peak) for name, peak in sorted(peaks.items())},
        "peak_mb_of_all": round(max(whole)),
        "live": {name: summary["live"][name] for name in LIVE} if summary["live"] else None,
    }


def main() -> None:
    given = arguments(__doc__, "one simulated league instead of three").parse_args()
    where, result = print_machine(), measure(given.quick)
    print(f"{result['matches']:,} matches, leagues {', '.join(result['leagues'])}")
    print(f"{'stage':<20} {'seconds':>8}")
    for stage, seconds in [*result["seconds"].items(), ("with start and report", result["whole_seconds"])]:
        print(f"{stage:<20} {seconds:>8.1f}")
    print(f"\n{'largest process':<20} {'peak MB':>8}")
    for name, peak in [*result["peak_mb"].items(), ("all together", result["peak_mb_of_all"])]:
        print(f"{name:<20} {peak:>8,}")
    if live := result["live"]:
        print(f"\ndrift planted → live: {live['seconds_from_drift_to_live']} s, target {DRIFT_TO_LIVE_SECONDS}")
        print(f"requests meanwhile: {live['asked_meanwhile']:,}, failed: {live['failed_meanwhile']}")
        for reason, count in live["failures"].items():
            print(f"{count:>8,} × {reason}")
        for one in live["timeline"]:
            print(f"{one['seconds']:>8.1f} s  {one['what']}")
    write_json(given.json, {"machine": where, **result})


if __name__ == "__main__":
    main()
