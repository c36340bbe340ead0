"""The staged probe: what a training finds first on its PYTHONPATH."""

from __future__ import annotations

import compileall
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import detctl_probe
from detctl_probe.stage import stage
from detctl_selfcheck import answers

PACKAGE = Path(detctl_probe.__file__).parent


def test_compiled_modules_go_along_and_are_those_of_the_copy(tmp_path: Path) -> None:
    assert compileall.compile_dir(PACKAGE, quiet=1)
    staged = Path(stage(str(tmp_path / "probe")))
    sources = sorted((staged / "detctl_probe").rglob("*.py"))
    assert len(sources) > 80
    for source in sources:
        compiled = Path(importlib.util.cache_from_source(str(source))).read_bytes()
        # PEP 552: after magic number and flags, the time and size of the source that it was compiled from
        assert int.from_bytes(compiled[8:12], "little") == int(source.stat().st_mtime) & 0xFFFFFFFF, source
        assert int.from_bytes(compiled[12:16], "little") == source.stat().st_size, source


def test_nothing_else_does(tmp_path: Path) -> None:
    half = PACKAGE / "__pycache__" / "recorder.cpython-311.pyc.140245"  # as the interpreter names what it is writing
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"half")
    try:
        staged = Path(stage(str(tmp_path / "probe")))
    finally:
        half.unlink()
    suffixes = {path.suffix for path in staged.rglob("*") if path.is_file()}
    assert suffixes <= {".py", ".pyc", ".so", ".typed"}, suffixes
    assert {path.name for path in staged.iterdir()} == {"detctl_probe", "sitecustomize.py"}


def test_what_no_training_needs_stays_outside(tmp_path: Path) -> None:
    """The reader of checkpoints and the known-answer test import the probe; the probe holds neither, and nothing of either."""
    staged = Path(stage(str(tmp_path / "probe")))
    assert not {path.stem for path in staged.rglob("*")} & {
        "checkpoints", "kat", "detctl_checkpoints", "detctl_selfcheck", "archive_inspection", "known_answers"
    }  # fmt: skip
    assert not [path for path in staged.rglob("*.py") if "convolution-backward" in path.read_text()]


def test_the_known_answer_test_runs_from_its_text_beside_the_staged_probe(tmp_path: Path) -> None:
    """An agent sends it that way into containers and to other users; -S hides every package that is installed here."""
    folder = stage(str(tmp_path / "probe"))
    text = Path(answers.__file__).read_text()
    ran = subprocess.run(
        [sys.executable, "-s", "-S", "-c", text], env={"PYTHONPATH": folder}, cwd="/", capture_output=True, text=True
    )
    assert (ran.returncode, json.loads(ran.stdout)["error"]) == (2, "no-torch"), ran.stderr
