"""Where the server's files lie: inside the state folder, or outside when its user could not walk there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from betting_assets.embedded import postgres_files
from betting_assets.embedded.postgres_files import bundled_programs, programs_for, work_folder
from betting_assets.embedded.server_user import ServerUser, server_user

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand the server to another user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="betting-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_the_wheel_brings_the_programs() -> None:
    assert all((bundled_programs() / name).exists() for name in ("initdb", "pg_ctl", "postgres"))


def test_data_stays_in_the_state_folder_where_the_user_can_walk(open_folder: Path) -> None:
    assert work_folder(open_folder, server_user(open_folder / "data")) == open_folder


@only_root
def test_the_owner_of_existing_data_goes_on_running_it(open_folder: Path) -> None:
    os.chown(open_folder, 65534, 65534)
    assert server_user(open_folder).uid == 65534
    assert server_user(open_folder / "none").uid not in (0, None)


@only_root
def test_two_closed_folders_get_two_places(open_folder: Path) -> None:
    places = []
    for name in ("a", "b"):
        (open_folder / name).mkdir(mode=0o700)
        places.append(work_folder(open_folder / name, server_user(open_folder / "none")))
    assert places[0] != places[1]
    for place in places:
        place.rmdir()


@only_root
def test_a_place_outside_that_somebody_else_made_is_refused(open_folder: Path) -> None:
    (open_folder / "a").mkdir(mode=0o700)
    user = server_user(open_folder / "none")
    place = work_folder(open_folder / "a", user)
    os.chown(place, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        work_folder(open_folder / "a", user)
    place.rmdir()


@only_root
def test_programs_out_of_reach_are_copied_with_the_libraries_that_they_need(open_folder: Path) -> None:
    closed = open_folder / "closed" / postgres_files.WHEEL / "pginstall18" / "bin"
    closed.mkdir(parents=True)
    (closed / "postgres").touch(mode=0o755)
    libraries = open_folder / "closed" / f"{postgres_files.WHEEL}.libs"
    libraries.mkdir()
    (libraries / "libpq.so").touch()
    (open_folder / "closed").chmod(0o700)
    user = server_user(open_folder / "none")
    copy = programs_for(user, open_folder, closed)
    assert copy.is_relative_to(open_folder / "programs")
    assert user.can_enter(copy / "postgres")
    assert (copy.parents[2] / f"{postgres_files.WHEEL}.libs" / "libpq.so").exists()
    assert programs_for(user, open_folder, closed) == copy


def test_programs_within_reach_are_used_where_they_are(open_folder: Path) -> None:
    (open_folder / "postgres").touch(mode=0o755)
    assert programs_for(ServerUser("me"), open_folder / "work", open_folder) == open_folder
