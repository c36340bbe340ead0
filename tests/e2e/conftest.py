from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from house import RUN_DIRS, House, make_numbers


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house on SQLite with its coordinator running."""
    running = House(tmp_path)
    try:
        running.coordinator()
        yield running
    finally:
        running.close()


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """The data of recipes/mlp on disk."""
    return make_numbers(tmp_path / "numbers")


@pytest.fixture
def in_memory() -> Iterator[Callable[[str], Path]]:
    """Gives folders on tmpfs, where a directory is listed in another order than on disk."""
    folder = Path(tempfile.mkdtemp(prefix="numbers", dir="/dev/shm"))
    yield lambda name: folder / name
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """No training outlives a test: detctl's mark is in no process."""
    yield
    left = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                variables = (entry / "environ").read_bytes()
                if b"DETCTL_RUN_ID=" in variables and any(place.encode() in variables for place in RUN_DIRS):
                    left.append((entry.name, (entry / "cmdline").read_bytes()))
            except OSError:
                continue
    assert not left, f"left running: {left}"
