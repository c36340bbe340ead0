"""The user's key: made once, private, refused where others can read it, and no obstacle where it cannot be kept."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from detctl_agent.errors import AgentError
from detctl_agent.recording.recording_key import key_path, recording_key


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    recording_key.cache_clear()
    yield tmp_path / "state"
    recording_key.cache_clear()


def test_it_is_made_once_and_private(state: Path) -> None:
    first = recording_key()
    assert key_path() == state / "detctl" / "recording-key"
    assert stat.S_IMODE(key_path().stat().st_mode) == 0o600
    assert [entry.name for entry in key_path().parent.iterdir()] == ["recording-key"]
    recording_key.cache_clear()
    assert recording_key() == first
    key_path().unlink()
    recording_key.cache_clear()
    assert recording_key() != first


@pytest.mark.parametrize(
    ("text", "mode", "why"), [("00" * 32, 0o644, "chmod 600"), ("nonsense", 0o600, "not a recording key")]
)
def test_one_that_is_open_to_others_or_damaged_is_refused(text: str, mode: int, why: str) -> None:
    key_path().parent.mkdir(parents=True)
    key_path().write_text(text)
    key_path().chmod(mode)
    with pytest.raises(AgentError, match=why):
        recording_key()


def test_where_it_cannot_be_kept_it_lives_as_long_as_the_process(state: Path) -> None:
    state.write_text("a file where the folder should be")
    assert recording_key() == recording_key()
