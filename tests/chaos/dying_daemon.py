"""dagster-daemon that dies by its own kill -9 at one moment of a tick that asks for runs.

    python dying_daemon.py MOMENT run -f LOCATION

The moments are those at which Dagster's own tests crash a sensor's tick.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from dagster import RunRequest
from dagster._daemon import sensor
from dagster._daemon.cli import main


class Dying(sensor.SensorLaunchContext):
    """Knows whether the tick asks for runs."""

    asks = False

    def set_run_requests(
        self, run_requests: Sequence[RunRequest], reserved_run_ids: Sequence[str | None], cursor: str | None
    ) -> None:
        Dying.asks = bool(run_requests)
        super().set_run_requests(run_requests, reserved_run_ids, cursor)


def die_at(moment: str) -> None:
    def at_each_moment(_: object, key: str) -> None:
        if key == moment and Dying.asks:
            os.kill(os.getpid(), signal.SIGKILL)

    sensor.SensorLaunchContext = Dying  # type: ignore[misc]
    sensor.check_for_debug_crash = at_each_moment


if __name__ == "__main__":
    die_at(sys.argv.pop(1))
    main()
