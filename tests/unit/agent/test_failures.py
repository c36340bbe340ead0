"""Why a training failed, from its exit and its output."""

from __future__ import annotations

from pathlib import Path

import pytest
from detctl_agent.runs.failure import Ended, failure_of

TRACE = 'Traceback (most recent call last):\n  File "/w/train.py", line 1, in <module>\n    import x\n'


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        (Ended("", 1, stderr=TRACE + "ModuleNotFoundError: No module named 'einops'"), "missing-module"),
        (Ended("", 1, stderr="/usr/bin/python3: No module named torch"), "no-torch"),
        (Ended("", 1, stderr=TRACE + "FileNotFoundError: [Errno 2] No such file or directory: 'a.csv'"), "missing-file"),
        (Ended("", 2, stderr="python: can't open file '/w/t.py': [Errno 2] No such file or directory"), "missing-file"),
        (Ended("", 1, stderr=TRACE + "torch.OutOfMemoryError: CUDA out of memory."), "out-of-memory"),
        (Ended("", -9), "out-of-memory"),
        (Ended("", 137), "out-of-memory"),
        (Ended("", -15, killed_for_memory=True), "out-of-memory"),
        (Ended("", -11), "crash"),
        (Ended("", 134), "crash"),
        (Ended("", 1, stderr=TRACE + "ValueError: no"), "exit"),
        (Ended("timeout", -15), "timeout"),
        (Ended("", 0), "no-training"),
        (Ended("", 0, seen=True), None),
        (Ended("window", -15, seen=True), None),
        (Ended("cancelled", -15), None),
        (Ended("", 1, seen=True, complete=True), None),
    ],
)  # fmt: skip
def test_kinds(ended: Ended, kind: str | None) -> None:
    found = failure_of(ended)
    assert (found.kind if found else None) == kind


def test_a_missing_file_of_the_original_folder_is_named(tmp_path: Path) -> None:
    origin, work = tmp_path / "origin", tmp_path / "work"
    origin.mkdir()
    (origin / "a.csv").touch()
    error = "FileNotFoundError: [Errno 2] No such file or directory: 'a.csv'"
    found = failure_of(Ended("", 1, stderr=error, cwd=work, origin=origin))
    assert found is not None and (found.file, found.original) == ("a.csv", str(origin / "a.csv"))


def test_frames_of_the_probe_are_left_out() -> None:
    probe = '  File "/r/probe/detctl_probe/files.py", line 70, in open\n    open_()\n    ^^^^^\n'
    found = failure_of(Ended("", 1, stderr=TRACE + probe + "ValueError: no"))
    assert found is not None and found.tail == [*TRACE.splitlines(), "ValueError: no"]


TORCHRUN = """E1130 22:29:49.123000 27175 torch/distributed/elastic/multiprocessing/api.py:991] failed (exitcode: 1) local_rank: 0
Traceback (most recent call last):
  File "/venv/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
============================================================
"""
ACCELERATE = """Traceback (most recent call last):
  File "/venv/bin/accelerate", line 8, in <module>
    sys.exit(main())
subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 1.
"""


@pytest.mark.parametrize(
    "report", [TORCHRUN, ACCELERATE, "make: *** [Makefile:2: train] Error 1\n"], ids=["torchrun", "accelerate", "make"]
)
def test_what_a_launcher_reports_does_not_hide_what_its_program_said(report):
    found = failure_of(Ended("", 1, stderr=TRACE + "ValueError: no samples\n" + report))
    assert found is not None and found.tail[-1] == "ValueError: no samples"
    alone = failure_of(Ended("", 2, stderr=report))
    assert alone is not None and alone.tail
