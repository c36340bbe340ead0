"""The frames between the user's code and a frozen call."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import detctl_probe
from detctl_probe.intervene.randomness.identity import _BETWEEN


def test_every_module_in_between_exists() -> None:
    """Frames are recognised by the ends of their file names, which change when a module moves."""
    folders = (Path(detctl_probe.__file__).parent, Path(sysconfig.get_path("stdlib")))
    for ending in _BETWEEN:
        found = [path for folder in folders for path in folder.rglob(Path(ending).name) if str(path).endswith(ending)]
        assert found, ending
