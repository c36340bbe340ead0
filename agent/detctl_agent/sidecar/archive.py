"""`python -m detctl_agent.sidecar.archive FILE` writes attach.pyz: attach.py and what it needs, as one file for any Python 3.9."""

from __future__ import annotations

import sys
import tempfile
import zipapp
from pathlib import Path
from shutil import copyfile

PARTS = (
    "sidecar/attach.py",
    "launcher/shim.py",
    "launcher/tree.py",
    "launcher/prctl.py",
    "manifest/gpu.py",
    "manifest/system.py",
)


def write_archive(target: Path) -> None:
    """Writes the archive, readable for everybody. Raises OSError."""
    with tempfile.TemporaryDirectory() as place:
        package, ours = Path(place) / "detctl_agent", Path(__file__).parents[1]
        for part in PARTS:
            (package / part).parent.mkdir(parents=True, exist_ok=True)
            copyfile(ours / part, package / part)
            (package / part).with_name("__init__.py").touch()  # the real ones import more than this needs
        (package / "__init__.py").touch()
        zipapp.create_archive(
            place, target, interpreter="/usr/bin/env python3", main="detctl_agent.sidecar.attach:main"
        )
    target.chmod(0o755)


if __name__ == "__main__":
    write_archive(Path(sys.argv[1]))
