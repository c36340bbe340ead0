"""A copy of a folder gets the files that git ignores."""

from __future__ import annotations

from detctl_agent.source import ignored_files


def test_ignored_files_come_into_the_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(ignored_files, "COPIED_BYTES_MAX", 100)
    monkeypatch.setattr(ignored_files, "LINKED_FROM_BYTES", 50)
    folder, copy = tmp_path / "project", tmp_path / "copy"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "train.py").write_text("1")
    (folder / "data" / "small.csv").write_text("2")
    (folder / "data" / "deep" / "large.bin").write_bytes(b"x" * 200)
    (folder / "data" / "link").symlink_to("small.csv")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "python").write_text("3")
    (folder / "recording").mkdir()
    (folder / "recording" / "run.json").write_text("{}")
    copy.mkdir()
    (copy / "train.py").write_text("of the snapshot")
    ignored_files.add_ignored(folder, copy)
    assert (copy / "train.py").read_text() == "of the snapshot"
    assert (copy / "data" / "small.csv").read_text() == "2" and not (copy / "data" / "small.csv").is_symlink()
    assert (copy / "data" / "deep" / "large.bin").is_symlink()
    assert (copy / "data" / "link").read_text() == "2"
    assert not (copy / ".venv").exists() and not (copy / "recording").exists()
    (copy / "data" / "small.csv").write_text("changed")
    assert (folder / "data" / "small.csv").read_text() == "2"
