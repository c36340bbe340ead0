"""A joined run is sent while it trains: what the recorder has written so far, again and again. What is left goes when it is over."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from detctl_proto.recording_log import MAGIC

from detctl_cli.errors import CliError
from detctl_cli.output.clean import clean
from detctl_cli.output.terminal import note
from detctl_cli.recordings.folder import read_log
from detctl_cli.recordings.send import RunHeld, ingest
from detctl_cli.service.client import Coordinator

EVERY_S = 1.0
BATCH = 256  # records a call
STOP_S = 10.0
AWAY = ("unreachable", "unavailable", "slow")


class Following:
    """Within `with`, a thread sends what `folder`'s spool has, and never disturbs the training. sent: records that the coordinator has."""

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
        self._thread.join(STOP_S)  # a coordinator that is away must not hold up the end: sending again changes nothing

    def _follow(self) -> None:
        told = False
        while not self._over.wait(EVERY_S):
            try:
                while self._send_some():
                    pass
                told = False
            except CliError as problem:
                if problem.code not in AWAY:
                    note(f"nothing more is sent, the training goes on: {clean(problem.message)}")
                    return
                if not told:
                    note(f"{clean(problem.message)}: the training goes on, what it records is sent later")
                    told = True

    def _send_some(self) -> bool:
        """Whether there may be more. A record that is half written is taken the next time."""
        batch = list(itertools.islice(read_log(self._log, self._position), BATCH))
        if not batch:
            return False
        ingest(self._coordinator, [payload for payload, _ in batch], self._held, str(self._log))
        self._position = batch[-1][1]
        self.sent += len(batch)
        return len(batch) == BATCH and not self._over.is_set()
