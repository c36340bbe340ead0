"""The interface through which comparisons read a run. The store implements it, and tests implement it in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from detctl_coordinator.domain.fingerprint import Fingerprint, Seal, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord


class DamagedError(Exception):
    """Stored data does not match its CRC, count or seal, so the run is unverified."""


class RunReader(Protocol):
    """The latest attempt of one run. Any method may raise DamagedError."""

    @property
    def run(self) -> RunRecord: ...

    @property
    def scheme(self) -> str:
        """The name of the digest scheme; empty: no data. Raises DamagedError if segments disagree."""
        ...

    @property
    def level(self) -> str: ...

    def manifest(self) -> Mapping[str, Any]: ...

    def seals(self) -> Mapping[int, Seal]: ...

    def streams(self) -> Mapping[StreamKey, int]:
        """Returns the number of entries of each stream."""
        ...

    def entry(self, key: StreamKey, ordinal: int) -> StepEntry: ...

    def entries(self, key: StreamKey, start: int, stop: int) -> list[StepEntry]: ...

    def records(self, key: StreamKey, step: int) -> list[Fingerprint]:
        """Returns the fingerprints of a step in program order. Reads only the segments that contain the step."""
        ...
