"""The staged probe: what a training finds first on its PYTHONPATH."""

from __future__ import annotations

import compileall
import importlib.util
from pathlib import Path

import detctl_probe
from detctl_probe.stage import stage

PACKAGE = Path(detctl_probe.__file__).parent


def test_compiled_modules_go_along_and_are_those_of_the_copy(tmp_path: Path) -> None:
    assert compileall.compile_dir(PACKAGE, quiet=1)
    staged = Path(stage(str(tmp_path / "probe")))
    sources = sorted((staged / "detctl_probe").rglob("*.py"))
    assert len(sources) > 90
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
