"""Length-prefixed frames from the training process to whoever listens: the agent, or `detctl record`.

Why frames and not protobuf or pickle: the probe lives in a stranger's process, with the stdlib alone; the user's own
protobuf stays untouched, and the reader never unpickles what a training process sent.

A connection is a Unix stream socket, one a process; a forked child opens its own. Frame: u32 length of what follows,
u8 type, payload. Integers are little-endian. Text is UTF-8 with surrogateescape.

    type  name     payload                    direction
    1     HELLO    JSON                       probe -> reader, first on every connection
    2     RECORDS  packed records             probe -> reader
    3     STEP     u32 step, u8 skipped       probe -> reader, after the records of that step
    4     NOTE     JSON                       probe -> reader, evidence that hangs on no record
    5     FACTS    JSON                       probe -> reader, what only the process knows (torch, threads, ISA, flags)
    6     SEAL     JSON                       probe -> reader, last: counts and chains
    7     IMPORTED JSON                       probe -> reader, torch has been imported: for people who watch
    100   STOP     u32 step                   reader -> probe: finish this step, seal, record no more

HELLO  {"v": 1, "scheme": "n6.v1", "level": "module", "process": "<pid>.<8 hex>", "pid": 1, "ppid": 0,
        "role": "main" | "child" | "worker" | "launcher", "rank": 0 | null, "world_size": 1 | null,
        "local_world_size": 1 | null, "argv": [...], "python": "3.11.7", "executable": "..."}
       "rank" here comes from the variables; that of a SEAL and of FACTS comes from torch.distributed, if it is initialised.
NOTE   {"kind": "seed" | "unseeded-rng" | "listing" | "hash-order" | "identity" | "no-op" | "observer-failed" |
        "foreign-worker" | "non-training" | "outside" | "command" | "query" | "file-times" |
        "uninitialised" | ..., "text": "one line", "file": "{cwd}/train.py", "line": 31,
        "stage": "...", "step": 0, ...}
FACTS  {"python": "3.11.7", "hash_randomization": false, "variables": {"OMP_NUM_THREADS": "2", ...}, "packages": {...},
        "rank": 0, "world_size": 1, and with torch: "torch": "2.13.0", "cuda": ..., "cpu_capability": "AVX512",
        "threads": 2, "interop_threads": 2, "flags": {...}, ...; "failed": "why" alone where they could not be read}
       "variables" are those of facts.VARIABLES that are set.
IMPORTED {"began_at": 12.3, "ended_at": 15.6}: monotonic times of the host; empty where they are not known
SEAL   {"reason": "window" | "stop" | "exit" | "os._exit", "rank": 0, "world_size": 1, "sequence": 123,
        "steps_finished": 32, "last_step": 31,
        "streams": {"forward/train": {"steps": 32, "count": 1984, "chain": "hex"}, ...},
        "observers": {"modules": {"stage": "forward", "installed": true, "fired": 1984, "failed": null}, ...},
        "unobserved": [{"stage": "forward", "what": "compiled region of root1", "why": "..."}],
        "interventions": [{"name": "listing", "value": "sorted", "acted": true, "detail": "12 listings sorted", …}],
        "facts": {...}, "training": true, "exception": "ValueError",
        "cost_s": 0.81, "cost_by_stage": {"forward": 0.4, "update": 0.2, ..., "other": 0.01},
        "worker_cost_by_stage": {"sample": 1.2, ...}, "step_s": {"steps": 31, "total": 12.4, "median": 0.4},
        "share": {"median": 0.018, "total": 0.019, "by_stage": {"forward": 0.009, ...}},
        "budget": {"share": 0.02, "kept": true, "measured": {"from": 3, "share": 0.017},
                   "plans": [{"from": 0, "periods": {}}, {"from": 3, "periods": {"forward": 4}}]}}
       "exception" stands only where the program ended by one (reason "exit"): the name of its class.
       "budget" stands only where one was set: from step 3 on, forward was taken in steps that 4 divides (sampling.py).
       "kept" is whether the last decision expected to keep it, "measured" the share since the last plan.
       costs.py documents the costs: seconds of the probe, separately those of DataLoader workers, and shares of step time.

A record (all of a RECORDS payload is records, one after the other):

    u64 sequence    by process, from 0, without gaps
    u8  stage       number of records.proto (STAGES below)
    u8  phase       0 train, 1 eval
    u32 step        u32 micro      u32 occurrence
    u8  has         1 order-blind digest, 2 rows, 4 evidence, 8 sketch
    u16 + site      u16 + dtype    u8 + u64 each: shape
    16  digest
    [16 order-blind digest] [u32 + 16 each: digests of rows] [u32 + JSON: evidence] [304 sketch: 38 doubles]
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from detctl_probe.digest.fingerprint import Fingerprint

SCHEME = "n6.v1"  # of the digests
VERSION = 1

HELLO, RECORDS, STEP, NOTE, FACTS, SEAL, IMPORTED, STOP = 1, 2, 3, 4, 5, 6, 7, 100

STAGES = (
    "code",
    "listing",
    "files",
    "rng",
    "init",
    "order",
    "sample",
    "batch",
    "forward",
    "loss",
    "backward",
    "collective",
    "update",
    "artifact",
)
STAGE_NUMBERS: Dict[str, int] = {name: number for number, name in enumerate(STAGES)}
TRAINING_STAGES = frozenset(
    ("init", "forward", "loss", "backward", "update")
)  # a process that records one of them trains
PHASES = ("train", "eval")
PHASE_NUMBERS: Dict[str, int] = {name: number for number, name in enumerate(PHASES)}

FRAME_BYTES_MAX = 64 << 20  # a listing of two million names with a digest each is 32 MB
ROWS_MAX = 1 << 20  # more rows than this are left out; digest and order-blind digest still stand for them
NAME_BYTES_MAX = 4096
SHORT_NAME_CHARS = NAME_BYTES_MAX // 4  # surely short enough: four bytes a character at most
SKETCH_DOUBLES = 38
DIGEST_BYTES = 16

# The layout, for both ends: the length of a frame and its type, then the fixed start of a record, which names follow.
FRAME = struct.Struct("<IB")
HEAD = struct.Struct("<QBBIIIB")
U16 = struct.Struct("<H")
U32 = struct.Struct("<I")
STEP_LAYOUT = struct.Struct("<IB")
SKETCH = struct.Struct("<%dd" % SKETCH_DOUBLES)
HAS_ORDER_BLIND, HAS_ROWS, HAS_EVIDENCE, HAS_SKETCH = 1, 2, 4, 8
HAS_ALL = HAS_ORDER_BLIND | HAS_ROWS | HAS_EVIDENCE | HAS_SKETCH


class ProtocolError(ValueError):
    """Bytes that this protocol does not allow; the message is one line that names the fault."""


def frame(kind: int, payload: bytes) -> bytes:
    """One frame, ready to send."""
    return FRAME.pack(len(payload) + 1, kind) + payload


def json_frame(kind: int, content: Mapping[str, Any]) -> bytes:
    """A frame whose payload is JSON. What JSON does not know is sent as its text."""
    return frame(kind, dump_json(content))


def step_frame(step: int, skipped: bool) -> bytes:
    return frame(STEP, STEP_LAYOUT.pack(step, 1 if skipped else 0))


def stop_frame(step: int) -> bytes:
    return frame(STOP, U32.pack(step))


def unpack_step(payload: bytes) -> Tuple[int, bool]:
    """(step, skipped) of a STEP frame. Raises ProtocolError."""
    if len(payload) != STEP_LAYOUT.size:
        raise ProtocolError("a STEP frame has %d bytes, not %d" % (len(payload), STEP_LAYOUT.size))
    step, skipped = STEP_LAYOUT.unpack(payload)
    return step, bool(skipped)


def unpack_stop(payload: bytes) -> int:
    """The step of a STOP frame. Raises ProtocolError."""
    if len(payload) != U32.size:
        raise ProtocolError("a STOP frame has %d bytes, not %d" % (len(payload), U32.size))
    return int(U32.unpack(payload)[0])


def dump_json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), default=str, ensure_ascii=True).encode("ascii")


def short_name(name: str) -> str:
    """The name as it travels: where it is too long its end is replaced by its hash, so that names stay distinct."""
    if len(name) <= SHORT_NAME_CHARS:
        return name
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) <= NAME_BYTES_MAX:
        return name
    from hashlib import blake2b

    head = raw[: NAME_BYTES_MAX - 40].decode("utf-8", "ignore")
    return "%s…%s" % (head, blake2b(raw, digest_size=16).hexdigest())


def pack_record(
    sequence: int,
    stage: int,
    phase: int,
    step: int,
    micro: int,
    occurrence: int,
    name: Union[str, bytes],
    value: Fingerprint,
    evidence: Optional[Mapping[str, Any]] = None,
) -> bytes:
    """One record; name: the site, from short_name, or what pack_name made of it. Rows beyond ROWS_MAX are left out."""
    if isinstance(name, str):
        name = pack_name(name, value.dtype, value.shape)
    has = 0
    tail: List[bytes] = []
    if value.order_blind is not None:
        has |= HAS_ORDER_BLIND
        tail.append(value.order_blind)
    if value.rows is not None and len(value.rows) <= ROWS_MAX:
        has |= HAS_ROWS
        tail.append(U32.pack(len(value.rows)))
        tail.extend(value.rows)
    if evidence:
        has |= HAS_EVIDENCE
        text = dump_json(evidence)
        tail.append(U32.pack(len(text)))
        tail.append(text)
    if value.sketch is not None:
        has |= HAS_SKETCH
        tail.append(SKETCH.pack(*value.sketch))
    return b"".join((HEAD.pack(sequence, stage, phase, step, micro, occurrence, has), name, value.digest, *tail))


class RecordHead:
    """pack_record for many records of one stage, phase, step and micro-step; stage and phase are words."""

    __slots__ = ("_fixed", "_micro", "_step")

    def __init__(self, stage: str, phase: str, step: int, micro: int) -> None:
        self._fixed = STAGE_NUMBERS[stage], PHASE_NUMBERS[phase]
        self._step = step
        self._micro = micro

    def pack(
        self, sequence: int, occurrence: int, name: bytes, value: Fingerprint, evidence: Optional[Mapping[str, Any]]
    ) -> bytes:
        """One record; name: what pack_name made."""
        stage, phase = self._fixed
        if evidence or value.order_blind is not None or value.rows is not None or value.sketch is not None:
            return pack_record(sequence, stage, phase, self._step, self._micro, occurrence, name, value, evidence)
        return HEAD.pack(sequence, stage, phase, self._step, self._micro, occurrence, 0) + name + value.digest


def pack_name(site: str, dtype: str, shape: Tuple[int, ...]) -> bytes:
    """Site, dtype and shape as they travel in a record."""
    name = site.encode("utf-8", "surrogateescape")
    kind = dtype.encode("utf-8", "surrogateescape")
    sizes = struct.pack("<B%dQ" % len(shape), len(shape), *shape)
    return b"".join((U16.pack(len(name)), name, U16.pack(len(kind)), kind, sizes))


class FrameReader:
    """Cuts a byte stream into frames. Not thread-safe; each connection has its own."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._max = frame_bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Tuple[int, bytes]]:
        """Yields (type, payload) of every frame that `data` completes. Raises ProtocolError on a frame of no or excessive length."""
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= U32.size:
                size = int(U32.unpack_from(self._buffer, at)[0])
                if not 1 <= size <= self._max:
                    raise ProtocolError("a frame of %d bytes; allowed are 1 to %d" % (size, self._max))
                end = at + U32.size + size
                if len(self._buffer) < end:
                    break
                kind = self._buffer[at + U32.size]
                payload = bytes(memoryview(self._buffer)[at + FRAME.size : end])
                at = end
                yield kind, payload
        finally:
            del self._buffer[:at]

    @property
    def expected(self) -> int:
        """Bytes of the frame that is arriving, with its length; 0 until the length has arrived."""
        return U32.size + int(U32.unpack_from(self._buffer)[0]) if len(self._buffer) >= U32.size else 0

    @property
    def left(self) -> int:
        """Bytes of a frame that is not complete. More than 0 at the end of a stream means that the frame was cut off."""
        return len(self._buffer)
