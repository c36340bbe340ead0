"""Which files `detctl clean` may remove, and how it counts them."""

from __future__ import annotations

import os

import pytest
from detctl_cli.local.leftovers import leftovers, remove, size_of
from detctl_cli.output.sizes import size_text
from detctl_proto.files.overlay_folders import overlay_folders


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr("detctl_proto.files.overlay_folders.SCRATCH", tmp_path / "var")
    data = tmp_path / "project" / ".detctl"
    for name in ("agent/runs/a1.000.1/spool", "agent/runs/a2.000.1", "agent/known-answers", "agent/sources/s", "logs"):
        (data / name).mkdir(parents=True)
    for name in (
        "agent/runs/a1.000.1/spool/log",
        "agent/known-answers/k.json",
        "logs/agent.log",
        "store.sqlite",
        "lock",
    ):
        (data / name).write_bytes(b"x" * 5000)
    killed = overlay_folders(data / "agent")[1] / "a1.000-xyz" / "work0" / "work"
    killed.mkdir(parents=True)
    killed.chmod(0)
    return data


def test_runs_of_unfinished_audits_the_store_and_known_answers_stay(data):
    found = {one.what: {path.name for path in one.paths} for one in leftovers(data, ["a2"])}
    assert found == {
        "run folders": {"a1.000.1"}, "source snapshots": {"s"}, "writes of killed runs": {"a1.000-xyz"}, "logs": {"agent.log"},
    }  # fmt: skip
    for one in leftovers(data, ["a2"]):
        assert one.size() > 0
        remove(one.paths)
        assert one.size() == 0
    assert (data / "agent/runs/a2.000.1").is_dir()
    assert (data / "agent/known-answers/k.json").exists()
    assert (data / "store.sqlite").exists()


def test_a_link_is_neither_followed_nor_counted(data, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x" * 100_000)
    (data / "agent/runs/a3.000.1").symlink_to(outside)
    assert size_of(data / "agent/runs/a3.000.1") < 50_000
    remove([data / "agent/runs/a3.000.1"])
    assert (outside / "precious").exists()
    os.rename(data / "agent/runs", data / "elsewhere")
    (data / "agent/runs").symlink_to(outside)
    assert leftovers(data, [])[0].paths == ()


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (4096, "4.0 KiB"), (200 << 20, "200 MiB")])
def test_sizes(size, text):
    assert size_text(size) == text
