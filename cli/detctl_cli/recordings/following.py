"""Sends the recording of a joined run while the training goes on. The rest is sent when the training is over."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from detctl_proto.recordings.recording_log import MAGIC

from detctl_cli.errors import CliError
from detctl_cli.output.clean import clean
from detctl_cli.output.terminal import note
from detctl_cli.recordings.folder import read_log
from detctl_cli.recordings.send import RunHeld, ingest
from detctl_cli.service.client import Coordinator

EVERY_S = 1.0
BATCH = 256  # records per call
STOP_S = 10.0
AWAY = ("unreachable", "unavailable", "slow")


class Following:
    """A thread that sends new records of a spool within `with`, and never disturbs the training. sent: records that were sent."""

    def __init__(self, coordinator: Coordinator, folder: Path, held: RunHeld) -> None:
        self._coordinator, self._log = coordinator, folder / "spool" / "log"
        self._held = held
        self._position = len(MAGIC)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="following", daemon=True)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(STOP_S)  # do not wait longer for a coordinator that does not answer; the rest is sent later

    def _follow(self) -> None:
        reported = False
        while not self._over.wait(EVERY_S):
            try:
                while self._send_some():
                    pass
                reported = False
            except CliError as problem:
                if problem.code not in AWAY:
                    note(f"{clean(problem.message)}; nothing more is sent, and the training continues")
                    return
                if not reported:
                    note(f"{clean(problem.message)}; the training continues, and the recording is sent later")
                    reported = True

    def _send_some(self) -> bool:
        """Sends one batch, and returns whether there may be more. A half-written record is sent the next time."""
        batch = list(itertools.islice(read_log(self._log, self._position), BATCH))
        if not batch:
            return False
        ingest(self._coordinator, [payload for payload, _ in batch], self._held, str(self._log))
        self._position = batch[-1][1]
        self.sent += len(batch)
        return len(batch) == BATCH and not self._over.is_set()
