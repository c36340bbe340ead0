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
    100   STOP     u32 step                   reader -> probe: finish this step, seal, record no more

HELLO  {"v": 1, "scheme": "n6.v1", "level": "module", "process": "<pid>.<8 hex>", "pid": 1, "ppid": 0,
        "role": "main" | "child" | "worker" | "launcher", "rank": 0 | null, "world_size": 1 | null,
        "local_world_size": 1 | null, "argv": [...], "python": "3.11.7", "executable": "..."}
       "rank" here is what the variables said; the rank of a SEAL and of FACTS is what torch.distributed said, if it did.
NOTE   {"kind": "seed" | "unseeded-rng" | "listing" | "hash-order" | "identity" | "no-op" | "observer-failed" |
        "foreign-worker" | "non-training" | ..., "text": "one line", "file": "{cwd}/train.py", "line": 31,
        "stage": "...", "step": 0, ...}
FACTS  {"python": "3.11.7", "hash_randomization": false, "variables": {"OMP_NUM_THREADS": "2", ...}, "packages": {...},
        "rank": 0, "world_size": 1, and with torch: "torch": "2.13.0", "cuda": ..., "cpu_capability": "AVX512",
        "threads": 2, "interop_threads": 2, "flags": {...}, ...; "failed": "why" alone where they could not be read}
       "variables" are those of facts.VARIABLES that are set.
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
       The costs are told in costs.py: seconds of the probe, those of DataLoader workers apart, and shares of step time.

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
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from detctl_probe.digest.fingerprint import Print

SCHEME = "n6.v1"
VERSION = 1

HELLO, RECORDS, STEP, NOTE, FACTS, SEAL, STOP = 1, 2, 3, 4, 5, 6, 100

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
PHASES = ("train", "eval")
PHASE_NUMBERS: Dict[str, int] = {name: number for number, name in enumerate(PHASES)}

FRAME_BYTES_MAX = 64 << 20  # a listing of two million names with a digest each is 32 MB
ROWS_MAX = 1 << 20  # more rows than this are left out; digest and order-blind digest still stand for them
NAME_BYTES_MAX = 4096
SHORT_NAME_CHARS = NAME_BYTES_MAX // 4  # surely short enough: four bytes a character at most
SKETCH_DOUBLES = 38

_FRAME = struct.Struct("<IB")
_HEAD = struct.Struct("<QBBIIIB")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_STEP = struct.Struct("<IB")
_SKETCH = struct.Struct("<%dd" % SKETCH_DOUBLES)
_ORDER_BLIND, _ROWS, _EVIDENCE, _SKETCHED = 1, 2, 4, 8


class Record(NamedTuple):
    """One record as it travelled. stage and phase are words; digests 16 bytes; evidence None or the parsed JSON object."""

    sequence: int
    stage: str
    phase: str
    step: int
    micro: int
    occurrence: int
    site: str
    dtype: str
    shape: Tuple[int, ...]
    digest: bytes
    order_blind: Optional[bytes] = None
    rows: Optional[Tuple[bytes, ...]] = None
    evidence: Optional[Dict[str, Any]] = None
    sketch: Optional[Tuple[float, ...]] = None


def frame(kind: int, payload: bytes) -> bytes:
    """One frame, ready to send."""
    return _FRAME.pack(len(payload) + 1, kind) + payload


def json_frame(kind: int, content: Mapping[str, Any]) -> bytes:
    """A frame whose payload is JSON. What JSON does not know is sent as its text."""
    return frame(kind, dump_json(content))


def step_frame(step: int, skipped: bool) -> bytes:
    return frame(STEP, _STEP.pack(step, 1 if skipped else 0))


def stop_frame(step: int) -> bytes:
    return frame(STOP, _U32.pack(step))


def unpack_step(payload: bytes) -> Tuple[int, bool]:
    """(step, skipped) of a STEP frame. Raises ValueError."""
    if len(payload) != _STEP.size:
        raise ValueError("a STEP frame has %d bytes, not %d" % (len(payload), _STEP.size))
    step, skipped = _STEP.unpack(payload)
    return step, bool(skipped)


def unpack_stop(payload: bytes) -> int:
    """The step of a STOP frame. Raises ValueError."""
    if len(payload) != _U32.size:
        raise ValueError("a STOP frame has %d bytes, not %d" % (len(payload), _U32.size))
    return int(_U32.unpack(payload)[0])


def dump_json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), default=str, ensure_ascii=True).encode("ascii")


def load_json(payload: bytes) -> Dict[str, Any]:
    """The JSON object of a payload. Raises ValueError with one line."""
    try:
        content = json.loads(bytes(payload).decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise ValueError("a frame is not JSON: %s" % type(error).__name__) from None
    if not isinstance(content, dict):
        raise ValueError("a frame holds JSON, but no object")
    return content


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
    value: Print,
    evidence: Optional[Mapping[str, Any]] = None,
) -> bytes:
    """One record; name: the site, from short_name, or what pack_name made of it. Rows beyond ROWS_MAX are left out."""
    if isinstance(name, str):
        name = pack_name(name, value.dtype, value.shape)
    has = 0
    tail: List[bytes] = []
    if value.order_blind is not None:
        has |= _ORDER_BLIND
        tail.append(value.order_blind)
    if value.rows is not None and len(value.rows) <= ROWS_MAX:
        has |= _ROWS
        tail.append(_U32.pack(len(value.rows)))
        tail.extend(value.rows)
    if evidence:
        has |= _EVIDENCE
        text = dump_json(evidence)
        tail.append(_U32.pack(len(text)))
        tail.append(text)
    if value.sketch is not None:
        has |= _SKETCHED
        tail.append(_SKETCH.pack(*value.sketch))
    return b"".join((_HEAD.pack(sequence, stage, phase, step, micro, occurrence, has), name, value.digest, *tail))


class RecordHead:
    """pack_record for many records of one stage, phase, step and micro-step; stage and phase are words."""

    __slots__ = ("_fixed", "_micro", "_step")

    def __init__(self, stage: str, phase: str, step: int, micro: int) -> None:
        self._fixed = STAGE_NUMBERS[stage], PHASE_NUMBERS[phase]
        self._step = step
        self._micro = micro

    def pack(
        self, sequence: int, occurrence: int, name: bytes, value: Print, evidence: Optional[Mapping[str, Any]]
    ) -> bytes:
        """One record; name: what pack_name made."""
        stage, phase = self._fixed
        if evidence or value.order_blind is not None or value.rows is not None or value.sketch is not None:
            return pack_record(sequence, stage, phase, self._step, self._micro, occurrence, name, value, evidence)
        return _HEAD.pack(sequence, stage, phase, self._step, self._micro, occurrence, 0) + name + value.digest


def pack_name(site: str, dtype: str, shape: Tuple[int, ...]) -> bytes:
    """Site, dtype and shape as they travel in a record."""
    name = site.encode("utf-8", "surrogateescape")
    kind = dtype.encode("utf-8", "surrogateescape")
    sizes = struct.pack("<B%dQ" % len(shape), len(shape), *shape)
    return b"".join((_U16.pack(len(name)), name, _U16.pack(len(kind)), kind, sizes))


def unpack_records(payload: bytes) -> List[Record]:
    """All records of a RECORDS payload. Raises ValueError with one line on anything that pack_record does not write."""
    reader = _Payload(payload)
    records = []
    while reader.left:
        sequence, stage, phase, step, micro, occurrence, has = _HEAD.unpack(reader.take(_HEAD.size))
        if stage >= len(STAGES) or phase >= len(PHASES) or has > 15:
            raise ValueError("a record has stage %d, phase %d, parts %d: not of this version" % (stage, phase, has))
        site = reader.name()
        dtype = reader.name()
        shape = struct.unpack("<%dQ" % reader.peek_u8(), reader.take(8 * reader.u8()))
        digest = reader.take(16)
        order_blind = reader.take(16) if has & _ORDER_BLIND else None
        rows: Optional[Tuple[bytes, ...]] = None
        if has & _ROWS:
            count = reader.u32()
            if count > ROWS_MAX:
                raise ValueError("a record claims %d rows; the limit is %d" % (count, ROWS_MAX))
            raw = reader.take(16 * count)
            rows = tuple(raw[at : at + 16] for at in range(0, len(raw), 16))
        evidence = load_json(reader.take(reader.u32())) if has & _EVIDENCE else None
        sketch = _SKETCH.unpack(reader.take(_SKETCH.size)) if has & _SKETCHED else None
        records.append(
            Record(
                sequence,
                STAGES[stage],
                PHASES[phase],
                step,
                micro,
                occurrence,
                site,
                dtype,
                shape,
                digest,
                order_blind,
                rows,
                evidence,
                sketch,
            )
        )
    return records


class _Payload:
    """A cursor that raises ValueError at the end of its bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = bytes(data)
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise ValueError("a record is cut: %d bytes wanted, %d left" % (count, self.left))
        self.at += count
        return self.data[self.at - count : self.at]

    def peek_u8(self) -> int:
        if not self.left:
            raise ValueError("a record is cut: 1 byte wanted, 0 left")
        return self.data[self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def name(self) -> str:
        size = int(_U16.unpack(self.take(2))[0])
        if size > NAME_BYTES_MAX:
            raise ValueError("a name has %d bytes; the limit is %d" % (size, NAME_BYTES_MAX))
        return self.take(size).decode("utf-8", "surrogateescape")


class FrameReader:
    """Cuts a byte stream into frames. Not thread-safe; one a connection."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._max = frame_bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Tuple[int, bytes]]:
        """(type, payload) of every frame that `data` completed. Raises ValueError on a frame of no or excessive length."""
        self._buffer += data
        frames = []
        at = 0
        while len(self._buffer) - at >= 4:
            size = int(_U32.unpack_from(self._buffer, at)[0])
            if not 1 <= size <= self._max:
                raise ValueError("a frame claims %d bytes; allowed are 1 to %d" % (size, self._max))
            if len(self._buffer) - at - 4 < size:
                break
            frames.append((self._buffer[at + 4], bytes(self._buffer[at + 5 : at + 4 + size])))
            at += 4 + size
        if at:
            del self._buffer[:at]
        return frames

    @property
    def left(self) -> int:
        """Bytes of a frame that is not complete; more than 0 at the end of a stream: it was cut."""
        return len(self._buffer)
