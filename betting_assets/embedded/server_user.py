"""Who runs the server. PostgreSQL refuses to run as root, so root hands it to an unprivileged user of the system.

That user must be able to walk to the program and to the data, which a clone under a 0700 /root forbids: whoever places
files asks `can_enter` first.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ServerUser:
    """The user that a server process gets; `None` ids mean: the one that we are."""

    name: str
    uid: int | None = None
    gid: int | None = None

    def popen_arguments(self) -> dict[str, Any]:
        """Keyword arguments for `subprocess`: drop to this user for good, with no group of ours left."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give `path` (not what lies in it) to this user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can walk into `folder`; asked of the system itself, so that ACLs count too."""
        asked = subprocess.run(["test", "-x", str(folder)], cwd="/", check=False, **self.popen_arguments())
        return asked.returncode == 0


def server_user(data: Path) -> ServerUser:
    """Ourselves, unless we are root: then the owner of `data` if there is any, else `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return ServerUser(pwd.getpwuid(os.geteuid()).pw_name)
    entry = pwd.getpwuid(data.stat().st_uid) if data.exists() else _unprivileged()
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _unprivileged() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
