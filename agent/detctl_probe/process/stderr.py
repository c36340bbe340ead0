"""Writes a line to the training's stderr: the only messages of the probe that people read while the training runs."""

from __future__ import annotations

import os


def log(text: str) -> None:
    """Writes `detctl: text` to descriptor 2, whatever the program made of sys.stderr. Never raises."""
    line = " ".join(text.split())[:500]
    try:
        os.write(2, ("detctl: %s\n" % line).encode("utf-8", "backslashreplace"))
    except OSError:
        pass
