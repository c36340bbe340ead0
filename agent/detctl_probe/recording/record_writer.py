"""Names, numbers, chains and packs records into frames, in the order in which they were made.

Records wait for the end of the step: packing them one by one between the training's operators would find the processor's caches empty each
time. A record whose digest a device still computes holds up those behind it, step ends included, until its results are known.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Any, Callable, Deque, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from detctl_probe.digest import pending
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.digest.pending import Pending
from detctl_probe.transport import chain as chains
from detctl_probe.transport import frames
from detctl_probe.transport.streams import Stream

# Level `step` keeps these as they are and folds every other stage to one record a step.
KEPT_STAGES = frozenset(("code", "listing", "files", "rng", "order"))
FOLDED_SITE = "*"
FOLDED_DTYPE = "fold"
FLUSH_BYTES = 1 << 18
KEPT_NAMES_MAX = 50_000
WAITING_MAX = 1024  # calls of write between two packings: an evaluation may be long

# site, occurrence (None: counted by stage, phase, step and site), fingerprint, evidence
Entry = Tuple[str, Optional[int], Fingerprint, Optional[Mapping[str, Any]]]


class Records(NamedTuple):
    """Records of one stage, phase, step and micro-step."""

    stage: str
    phase: str
    step: int
    micro: int
    entries: Sequence[Entry]


class StepEnd(NamedTuple):
    """The end of a step."""

    step: int
    skipped: bool


class Writer:
    """sequence: records packed so far; streams: by (stage, phase), for the seal. Not thread-safe: the recorder holds its lock."""

    def __init__(self, folds: bool, send: Callable[[bytes, bool], None]) -> None:
        """folds: level `step`. send(frames, now)."""
        self.sequence = 0
        self._step = 0  # of the records packed last
        self.streams: Dict[Tuple[str, str], Stream] = {}
        self._folds = folds
        self._send = send
        self._buffer = bytearray()
        self._open: Dict[Tuple[str, str], Stream] = {}
        self._folded: Dict[Tuple[str, str], chains.StepFold] = {}
        self._occurrences: Dict[Tuple[str, str, str], int] = {}
        self._kept: Dict[Tuple[str, int, str, Tuple[int, ...]], Tuple[bytes, bytes]] = {}
        self._waiting: Deque[Union[Records, StepEnd]] = deque()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self._buffer and not self._waiting

    def write(self, records: Records) -> None:
        """Takes records in; they are packed at the step's end, or once there are many."""
        self._waiting.append(records)
        if len(self._waiting) % WAITING_MAX == 0:
            self._drain(wait=False)

    def end_step(self, step: int, skipped: bool) -> None:
        """The step's records are complete: flushes what can be, and asks devices for the rest."""
        pending.mark()
        self._waiting.append(StepEnd(step, skipped))
        self._drain(wait=False)

    def finish(self) -> None:
        """Waits for devices and packs all that is left; a step under way counts as it is."""
        pending.mark()
        self._drain(wait=True)
        self._fold(None)
        self.flush()
        self._close(None)

    def flush(self) -> None:
        """Sends what is packed."""
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            self._send(frames.frame(frames.RECORDS, data), False)

    def drop(self) -> None:
        """Drops everything: nothing can be sent any more."""
        self._buffer = bytearray()
        self._waiting.clear()

    def _drain(self, wait: bool) -> None:
        while self._waiting:
            item = self._waiting[0]
            pendings = [] if isinstance(item, StepEnd) else _pendings(item)
            if wait:
                for one in pendings:
                    one.batch.wait()
            elif not all(one.batch.known for one in pendings):
                return
            self._waiting.popleft()  # before it is packed: a signal's exception in the middle must not have it packed twice
            if isinstance(item, StepEnd):
                self._end(item.step, item.skipped)
            elif pendings:
                known = [
                    (site, occurrence, _known(fingerprint), more)
                    for site, occurrence, fingerprint, more in item.entries
                ]
                self._pack(item._replace(entries=known))
            else:
                self._pack(item)

    def _pack(self, records: Records) -> None:
        stage, phase, step, micro, entries = records
        self._step = step
        key = (stage, phase)
        if self._folds and stage not in KEPT_STAGES:
            fold = self._folded.get(key)
            if fold is None:
                fold = self._folded[key] = chains.StepFold()
            for site, occurrence, value, _ in entries:
                if occurrence is None:
                    occurrence = self._occurrence(stage, phase, site)
                fold.take(self._named(site, occurrence, value)[1])
            return
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream()
        self._open[key] = stream
        head, buffer = frames.RecordHead(stage, phase, step, micro), self._buffer
        for site, occurrence, value, evidence in entries:
            if occurrence is None:
                occurrence = self._occurrence(stage, phase, site)
            name, hash_ = self._named(site, occurrence, value)
            buffer += head.pack(self.sequence, occurrence, name, value, evidence)
            self.sequence += 1
            stream.take(hash_)
            if len(buffer) >= FLUSH_BYTES:
                self.flush()
                self._send(b"", True)
                buffer = self._buffer

    def _occurrence(self, stage: str, phase: str, site: str) -> int:
        """Returns how many records this site has had in this step, and counts one more."""
        key = (stage, phase, site)
        count = self._occurrences.get(key, 0)
        self._occurrences[key] = count + 1
        return count

    def _named(self, site: str, occurrence: int, value: Fingerprint) -> Tuple[bytes, bytes]:
        """(name, dtype and shape packed, record hash); what depends on names alone is kept, since it comes again in each step."""
        key = (site, occurrence, value.dtype, value.shape)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= KEPT_NAMES_MAX:
                self._kept.clear()
            site = frames.short_name(site)
            head = chains.hash_head(site, occurrence, value.dtype, value.shape)
            kept = self._kept[key] = (frames.pack_name(site, value.dtype, value.shape), head)
        hashed = kept[1] + value.digest if value.order_blind is None else kept[1] + value.digest + value.order_blind
        return kept[0], blake2b(hashed, digest_size=16).digest()

    def _end(self, step: int, skipped: bool) -> None:
        self._fold(step)
        self._occurrences.clear()
        self.flush()
        self._close(step)
        self._send(frames.step_frame(step, skipped), True)

    def _fold(self, step: Optional[int]) -> None:
        """Level step: writes one record for each stage and phase; its digest is the sum of the step's record hashes."""
        folded, self._folded = self._folded, {}
        folds, self._folds = self._folds, False
        for stage, phase in sorted(folded, key=lambda key: (frames.STAGE_NUMBERS[key[0]], key[1])):
            fold = folded[(stage, phase)]
            entry = (FOLDED_SITE, 0, Fingerprint(fold.sum, FOLDED_DTYPE, (fold.count,)), None)
            self._pack(Records(stage, phase, self._step if step is None else step, 0, [entry]))
        self._folds = folds

    def _close(self, step: Optional[int]) -> None:
        for stream in self._open.values():
            stream.close(self._step if step is None else step)
        self._open.clear()


def _pendings(records: Records) -> List[Pending]:
    """The parts of these records that a device computes, known or not."""
    parts: List[Any] = [part for entry in records.entries for part in (entry[2].digest, entry[2].sketch)]
    return [part for part in parts if isinstance(part, Pending)]


def _known(fingerprint: Fingerprint) -> Fingerprint:
    digest, sketch = fingerprint.digest, fingerprint.sketch
    return fingerprint._replace(
        digest=digest.value() if isinstance(digest, Pending) else digest,
        sketch=sketch.value() if isinstance(sketch, Pending) else sketch,
    )
