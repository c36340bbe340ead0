"""What a DataLoader worker recorded and has not yet handed over: it travels to the main process with the next batch."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Tuple

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.process.stderr import log

BUFFERED_MAX = 200_000  # between two batches; a foreign worker loop may never drain

# ("record", stage, site, fingerprint, occurrence, phase, evidence) or ("note", kind, text, no fingerprint, None, None, fields)
Seen = Tuple[str, str, str, Fingerprint, Optional[int], Optional[str], Optional[Mapping[str, Any]]]


class WorkerBuffer:
    """Keeps records and notes in their order. Not thread-safe: the recorder holds its lock."""

    def __init__(self) -> None:
        self._seen: List[Seen] = []
        self._overflowed = False

    def add(self, seen: Seen) -> None:
        """Keeps one, or drops it and logs that once, if too many wait."""
        if len(self._seen) < BUFFERED_MAX:
            self._seen.append(seen)
        elif not self._overflowed:
            self._overflowed = True
            log(
                "a DataLoader worker recorded more than %d values without handing over a batch: the rest is lost"
                % BUFFERED_MAX
            )

    def drain(self) -> List[Seen]:
        """Returns what has come in since the last call; picklable."""
        seen, self._seen = self._seen, []
        return seen
