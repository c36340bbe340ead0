"""Where local data lies, and how it is found from a folder below."""

from __future__ import annotations

import os

from detctl_cli.local.places import STORE, data_folder, find_data_folder, holder_of, locked

NO_MOUNTS = ""


def store_in(folder):
    data = folder / ".detctl"
    data.mkdir(parents=True)
    (data / STORE).touch()
    return data


def test_the_nearest_data_above_is_found_and_a_new_audit_still_uses_its_own_folder(tmp_path):
    outer, inner = store_in(tmp_path), store_in(tmp_path / "a")
    below = tmp_path / "a" / "b" / "c"
    below.mkdir(parents=True)
    assert find_data_folder(below, {}, NO_MOUNTS) == (inner, tmp_path / "a")
    assert find_data_folder(tmp_path / "a", {}, NO_MOUNTS) == (inner, tmp_path / "a")
    assert find_data_folder(tmp_path, {}, NO_MOUNTS) == (outer, tmp_path)
    assert data_folder(below, {}, NO_MOUNTS) == (below / ".detctl", "")


def test_a_folder_without_a_store_is_passed_over(tmp_path):
    outer = store_in(tmp_path)
    (tmp_path / "a" / ".detctl").mkdir(parents=True)
    assert find_data_folder(tmp_path / "a", {}, NO_MOUNTS) == (outer, tmp_path)


def test_data_above_of_another_user_is_passed_over(tmp_path, monkeypatch):
    store_in(tmp_path)
    below = tmp_path / "a"
    below.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert find_data_folder(below, {}, NO_MOUNTS) is None


def test_the_holder_of_the_lock_is_named_only_while_it_holds_it(tmp_path):
    assert holder_of(tmp_path) == ""
    with locked(tmp_path):
        assert holder_of(tmp_path) == str(os.getpid())
    assert holder_of(tmp_path) == ""
