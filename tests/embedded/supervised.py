"""A platform of invented services for the tests, as a program: `python supervised.py STATE SERVICES`.

SERVICES is JSON: a list of arguments of Service. Prints "ready" when all are; ends with code 3 and one line on failure.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from betting_assets.embedded.platform_lock import PlatformLock, PlatformLockError
from betting_assets.embedded.ports import PortsError
from betting_assets.embedded.supervisor import Service, ServiceFailedError, Supervisor


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(state: Path, services: list[dict[str, object]]) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        with PlatformLock(state, ports={}):
            Supervisor(
                [Service(**one) for one in services],  # type: ignore[arg-type]
                state,
                on_ready=lambda: say("ready"),
                first_pause=0.02,
                log_bytes=50_000,
            ).run()
    except (ServiceFailedError, PlatformLockError, PortsError) as error:
        say(str(error))
        sys.exit(3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
