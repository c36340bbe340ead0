"""A store's name that leads to something else than a file: refused in one line, and nobody waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from detctl_coordinator.storage.sqlite.store import SqliteStore
from detctl_coordinator.storage.store import StoreError


@pytest.mark.parametrize("name", ["store.sqlite", "store.sqlite.lock"])
@pytest.mark.parametrize("kind", ["pipe", "zero", "folder"])
def test_what_is_not_a_file_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    {"pipe": os.mkfifo, "zero": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    with pytest.raises(StoreError) as refused:
        SqliteStore(tmp_path / "store.sqlite")
    assert name in str(refused.value) and "\n" not in str(refused.value)


def test_a_store_behind_a_link_is_opened(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store.sqlite").symlink_to(tmp_path / "disk" / "store.sqlite")
    SqliteStore(tmp_path / "store.sqlite").close()
