"""`python -m detctl_agent.launcher.archive FILE` writes attach.pyz: attach.py and what it needs, as one file for any Python 3.9."""

from __future__ import annotations

import sys
import tempfile
import zipapp
from pathlib import Path
from shutil import copyfile

PARTS = ("attach.py", "shim.py", "tree.py")


def write_archive(target: Path) -> None:
    """Writes it, readable for all. Raises OSError."""
    with tempfile.TemporaryDirectory() as place:
        package = Path(place) / "detctl_agent" / "launcher"
        package.mkdir(parents=True)
        for part in PARTS:
            copyfile(Path(__file__).with_name(part), package / part)
        for folder in (package, package.parent):
            (folder / "__init__.py").touch()
        zipapp.create_archive(
            place, target, interpreter="/usr/bin/env python3", main="detctl_agent.launcher.attach:main"
        )
    target.chmod(0o755)


if __name__ == "__main__":
    write_archive(Path(sys.argv[1]))
