"""A parent for the follower, which the tests can kill, as a program."""

from __future__ import annotations

import subprocess
import sys

if __name__ == "__main__":
    subprocess.run([sys.executable, "-m", "bentos.match_odds.deploying.follower"], check=False)
