"""What a comparison may read of a run. The store's side implements it; tests implement it in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from detctl_coordinator.domain.fingerprint import Fingerprint, Seal, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord


class DamagedError(Exception):
    """Stored data does not fit its CRC, count or seal: the run is unverified."""


class RunReader(Protocol):
    """One run, latest attempt. Any method may raise DamagedError."""

    @property
    def run(self) -> RunRecord: ...

    @property
    def scheme(self) -> str:
        """Name of the digests; empty where nothing arrived. DamagedError where segments disagree."""
        ...

    @property
    def level(self) -> str: ...

    def manifest(self) -> Mapping[str, Any]: ...

    def seals(self) -> Mapping[int, Seal]: ...

    def streams(self) -> Mapping[StreamKey, int]:
        """Number of entries a stream."""
        ...

    def entry(self, key: StreamKey, ordinal: int) -> StepEntry: ...

    def entries(self, key: StreamKey, start: int, stop: int) -> list[StepEntry]: ...

    def records(self, key: StreamKey, step: int) -> list[Fingerprint]:
        """In program order; reads only the segments that hold the step."""
        ...
