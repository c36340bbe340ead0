"""Watches the disk that holds the data of a local audit: on a full disk neither the store nor the agent can report anything."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from detctl_cli.errors import CliError

FREE_BYTES_MIN = 16 * 1024**2  # at the start of an audit
# SQLite writes whole pages into its log, so a store fails a little before the last byte is gone.
FULL_BYTES = 128 * 1024
PATIENCE_S = 10.0  # trainings may delete what they wrote


def need_space(folder: Path) -> None:
    """Raises CliError if the disk has no room for the data of an audit."""
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_MIN:
        raise CliError(
            "disk-full",
            f"no space left in {folder}: {free // 1024} KiB are free, and an audit needs at least {FREE_BYTES_MIN // 1024**2} MiB",
            "free some; detctl clean removes data of old audits",
        )


class FreeSpace:
    """Raises CliError if the disk of a folder stays full for PATIENCE_S seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._full_since: float | None = None

    def check(self) -> None:
        """Looks at the disk. Raises CliError if it has been full at every look for PATIENCE_S seconds."""
        if shutil.disk_usage(self._folder).free >= FULL_BYTES:
            self._full_since = None
            return
        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
        elif now - self._full_since >= PATIENCE_S:
            raise CliError(
                "disk-full",
                f"the disk of {self._folder} became full, so the audit ended without a verdict",
                "free some space (detctl clean removes data of old audits) and run the audit again",
            )
