"""What runs sent, in Redis: fencing by attempt, segments as blobs, the index as one string a stream, seals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import batched as _batched  # type: ignore[attr-defined,unused-ignore]
from itertools import groupby

from detctl_coordinator.domain.fingerprint import SegmentMeta, StepEntry, StreamKey
