"""API keys: only who has one is let in; a revoked one is not; a bad file is told by line and takes nobody out."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.match_odds.front.api_keys import (
    ApiKeys,
    ApiKeysError,
    ExposureError,
    check_exposure,
    hash_of,
    key_line,
    new_key,
    parse,
)
from betting_assets.cli import main
from betting_assets.settings import Settings, settings

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class KeysFile:
    """A file of keys, and what a service that reads it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.path.chmod(0o600)

    def load(self) -> ApiKeys:
        return ApiKeys.load(self.path, self.clock)


@pytest.fixture
def file(tmp_path: Path) -> KeysFile:
    return KeysFile(tmp_path / "keys")


@given(st.dictionaries(NAMES, st.builds(new_key), min_size=1, max_size=5), st.text())
def test_a_key_is_its_owners_and_nothing_else_is_a_key(keys: dict[str, str], other: str) -> None:
    text = "# who may ask\n\n" + "\n".join(f"{key_line(name, key)}  # made today" for name, key in keys.items())
    allowed = ApiKeys(Path("nowhere"), parse(text, "keys"))
    for name, key in keys.items():
        assert allowed.allows(f"Bearer {key}") == name
        assert allowed.allows(f"bearer {key}") == name
        for wrong in (key, f"Basic {key}", f"Bearer {key}x", f"Bearer {key[:-1]}", f"Bearer {hash_of(key)}"):
            assert allowed.allows(wrong) is None
    for nobody in (None, "", "Bearer", "Bearer ", other, f"Bearer {other}"):
        assert allowed.allows(nobody) is None
    assert not any(key in text for key in keys.values())


def test_keys_are_long_random_and_easy_to_find_by_a_scanner() -> None:
    keys = {new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(key.startswith("bk_") and len(key) == 3 + 43 for key in keys)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a sha256:12", "line 1: not `name sha256:"),
        (f"# fine\n\n{key_line('a', 'k')}\nb md5:{'0' * 64}", "line 4: not `name sha256:"),
        (f"{key_line('a', 'k')}\n{key_line('a', 'l')}", "line 2: there is a key a already"),
        (f"{key_line('a', 'k')} more", "line 1: not `name sha256:"),
        ("bk_a-key-that-was-pasted-here", "line 1: not `name sha256:"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_never_quoted(file: KeysFile, text: str, told: str) -> None:
    file.write(text)
    with pytest.raises(ApiKeysError) as error:
        file.load()
    assert told in str(error.value)
    assert str(file.path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "pasted" not in str(error.value)


def test_a_missing_or_binary_file_is_told_in_one_line(file: KeysFile) -> None:
    with pytest.raises(ApiKeysError, match=r"cannot be read .*`betting api-key new NAME`"):
        file.load()
    file.path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ApiKeysError, match="not a text file"):
        file.load()


def test_a_file_that_others_can_read_is_warned_of(file: KeysFile, caplog: pytest.LogCaptureFixture) -> None:
    file.write(key_line("a", new_key()))
    file.load()
    assert caplog.messages == []
    file.path.chmod(0o640)
    file.load()
    assert "can be read by others" in caplog.messages[0]


def test_a_change_is_followed_within_a_second_and_not_looked_for_more_often(file: KeysFile) -> None:
    old, new = new_key(), new_key()
    file.write(key_line("old", old))
    keys = file.load()
    file.write(key_line("new", new) + "\n")

    file.clock.now = 0.9
    assert (keys.allows(f"Bearer {old}"), keys.allows(f"Bearer {new}")) == ("old", None)
    file.clock.now = 1.0
    assert (keys.allows(f"Bearer {old}"), keys.allows(f"Bearer {new}")) == (None, "new")


def test_while_the_file_is_bad_or_gone_the_last_good_keys_hold(
    file: KeysFile, caplog: pytest.LogCaptureFixture
) -> None:
    key, later = new_key(), new_key()
    file.write(key_line("a", key))
    keys = file.load()
    for step in ("bad", "still bad", "gone", "good"):
        file.clock.now += 1.0
        if step == "bad":
            file.write("bad line here")
        elif step == "gone":
            file.path.unlink()
        elif step == "good":
            file.write(key_line("later", later))
        assert keys.allows(f"Bearer {key}") == (None if step == "good" else "a")
    assert keys.allows(f"Bearer {later}") == "later"
    kept = [message for message in caplog.messages if message.startswith("API keys stay as they were")]
    assert len(kept) == 2  # once for each fault, however often it is looked at
    assert "line 1" in kept[0]


def test_an_empty_file_lets_nobody_in(file: KeysFile, caplog: pytest.LogCaptureFixture) -> None:
    file.write("# none yet\n")
    assert file.load().allows(f"Bearer {new_key()}") is None
    assert "every request is refused" in caplog.messages[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "odds.example"])
def test_other_machines_are_let_in_with_keys_only(host: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExposureError, match="BETTING_API_KEYS_FILE") as error:
        check_exposure(Settings(serving_host=host))
    assert "\n" not in str(error.value)
    check_exposure(Settings(serving_host=host, api_keys_file=tmp_path / "keys", tls_certificate=tmp_path / "pem"))
    assert caplog.messages == []
    check_exposure(Settings(serving_host=host, api_keys_file=tmp_path / "keys"))
    assert "clear text" in caplog.messages[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_on_loopback_no_key_is_needed(host: str) -> None:
    check_exposure(Settings(serving_host=host))


class Command:
    """`betting api-key …` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._monkeypatch.setattr("sys.argv", ["betting", "api-key", *arguments])
        settings.cache_clear()
        code: str | int | None = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            settings.cache_clear()
        said = self._capsys.readouterr()
        return int(code or 0), said.out, said.err


@pytest.fixture
def command(
    file: KeysFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BETTING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BETTING_API_KEYS_FILE", str(file.path))
    return Command(monkeypatch, capsys)


def test_the_command_makes_lists_and_revokes_keys_that_the_service_follows(command: Command, file: KeysFile) -> None:
    _, first, _ = command("new", "scorer")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    keys = file.load()
    _, second, _ = command("new", "desk")
    file.clock.now = 1.0
    assert keys.allows(f"Bearer {first}") == "scorer"
    assert keys.allows(f"Bearer {second}") == "desk"
    assert command("list") == (0, "scorer\ndesk\n", "")
    assert first.strip() not in file.path.read_text()

    assert command("revoke", "scorer") == (0, "", "")
    file.clock.now = 2.0
    assert keys.allows(f"Bearer {first}") is None
    assert keys.allows(f"Bearer {second}") == "desk"
    assert command("list") == (0, "desk\n", "")


def test_comments_outlive_the_command(command: Command, file: KeysFile) -> None:
    file.write(f"# ours\n{key_line('a', 'k')} # on call\n{key_line('b', 'l')}\n")
    command("revoke", "b")
    assert file.path.read_text() == f"# ours\n{key_line('a', 'k')} # on call\n"


def test_wrong_use_of_the_command_is_one_line_and_changes_nothing(
    command: Command, file: KeysFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("new", "a")
    before = file.path.read_text()
    for arguments, told in (
        (["new", "a"], "there is a key a already"),
        (["new", "a b"], "no name for a key"),
        (["revoke", "c"], "there is no key c"),
    ):
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert told in err
        assert err.count("\n") == 1
        assert file.path.read_text() == before
    assert [path.name for path in file.path.parent.iterdir()] == ["keys"]

    file.write("what is this")
    for arguments in (["new", "b"], ["list"], ["revoke", "a"]):
        code, _, err = command(*arguments)
        assert code == 2
        assert "line 1" in err
    assert file.path.read_text() == "what is this"

    monkeypatch.delenv("BETTING_API_KEYS_FILE")
    code, _, err = command("list")
    assert code == 2
    assert "BETTING_API_KEYS_FILE is not set" in err


def test_keys_made_at_the_same_time_are_all_kept(file: KeysFile, monkeypatch: pytest.MonkeyPatch) -> None:
    from betting_assets.api_key_command import _lines

    def add(number: int) -> None:
        with _lines(file.path) as lines:
            lines.append(key_line(f"n{number}", new_key()))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert set(parse(file.path.read_text(), "keys")) == {f"n{number}" for number in range(40)}
    assert os.listdir(file.path.parent) == ["keys"]
