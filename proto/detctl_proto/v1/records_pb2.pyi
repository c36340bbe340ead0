from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_CODE: _ClassVar[Stage]
    STAGE_LISTING: _ClassVar[Stage]
    STAGE_FILES: _ClassVar[Stage]
    STAGE_RNG: _ClassVar[Stage]
    STAGE_INIT: _ClassVar[Stage]
    STAGE_ORDER: _ClassVar[Stage]
    STAGE_SAMPLE: _ClassVar[Stage]
    STAGE_BATCH: _ClassVar[Stage]
    STAGE_FORWARD: _ClassVar[Stage]
    STAGE_LOSS: _ClassVar[Stage]
    STAGE_BACKWARD: _ClassVar[Stage]
    STAGE_COLLECTIVE: _ClassVar[Stage]
    STAGE_UPDATE: _ClassVar[Stage]
    STAGE_ARTIFACT: _ClassVar[Stage]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_TRAIN: _ClassVar[Phase]
    PHASE_EVAL: _ClassVar[Phase]
STAGE_CODE: Stage
STAGE_LISTING: Stage
STAGE_FILES: Stage
STAGE_RNG: Stage
STAGE_INIT: Stage
STAGE_ORDER: Stage
STAGE_SAMPLE: Stage
STAGE_BATCH: Stage
STAGE_FORWARD: Stage
STAGE_LOSS: Stage
STAGE_BACKWARD: Stage
STAGE_COLLECTIVE: Stage
STAGE_UPDATE: Stage
STAGE_ARTIFACT: Stage
PHASE_TRAIN: Phase
PHASE_EVAL: Phase

class OfferNote(_message.Message):
    __slots__ = ("recipe", "unusable", "reason")
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    UNUSABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    recipe: str
    unusable: bool
    reason: str
    def __init__(self, recipe: _Optional[str] = ..., unusable: bool = ..., reason: _Optional[str] = ...) -> None: ...

class RecordColumns(_message.Message):
    __slots__ = ("names", "sequence_delta", "stage", "phase", "step_delta", "micro", "site", "occurrence", "dtype", "shape", "shapes", "digests", "order_blind_at", "order_blind", "rows_at", "rows_count", "rows", "sketch_at", "sketch", "evidence_at", "evidence")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_DELTA_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STEP_DELTA_FIELD_NUMBER: _ClassVar[int]
    MICRO_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    OCCURRENCE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    SHAPES_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    ORDER_BLIND_AT_FIELD_NUMBER: _ClassVar[int]
    ORDER_BLIND_FIELD_NUMBER: _ClassVar[int]
    ROWS_AT_FIELD_NUMBER: _ClassVar[int]
    ROWS_COUNT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SKETCH_AT_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    sequence_delta: _containers.RepeatedScalarFieldContainer[int]
    stage: _containers.RepeatedScalarFieldContainer[int]
    phase: _containers.RepeatedScalarFieldContainer[int]
    step_delta: _containers.RepeatedScalarFieldContainer[int]
    micro: _containers.RepeatedScalarFieldContainer[int]
    site: _containers.RepeatedScalarFieldContainer[int]
    occurrence: _containers.RepeatedScalarFieldContainer[int]
    dtype: _containers.RepeatedScalarFieldContainer[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    shapes: _containers.RepeatedCompositeFieldContainer[Shape]
    digests: bytes
    order_blind_at: _containers.RepeatedScalarFieldContainer[int]
    order_blind: bytes
    rows_at: _containers.RepeatedScalarFieldContainer[int]
    rows_count: _containers.RepeatedScalarFieldContainer[int]
    rows: bytes
    sketch_at: _containers.RepeatedScalarFieldContainer[int]
    sketch: bytes
    evidence_at: _containers.RepeatedScalarFieldContainer[int]
    evidence: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ..., sequence_delta: _Optional[_Iterable[int]] = ..., stage: _Optional[_Iterable[int]] = ..., phase: _Optional[_Iterable[int]] = ..., step_delta: _Optional[_Iterable[int]] = ..., micro: _Optional[_Iterable[int]] = ..., site: _Optional[_Iterable[int]] = ..., occurrence: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Iterable[int]] = ..., shape: _Optional[_Iterable[int]] = ..., shapes: _Optional[_Iterable[_Union[Shape, _Mapping]]] = ..., digests: _Optional[bytes] = ..., order_blind_at: _Optional[_Iterable[int]] = ..., order_blind: _Optional[bytes] = ..., rows_at: _Optional[_Iterable[int]] = ..., rows_count: _Optional[_Iterable[int]] = ..., rows: _Optional[bytes] = ..., sketch_at: _Optional[_Iterable[int]] = ..., sketch: _Optional[bytes] = ..., evidence_at: _Optional[_Iterable[int]] = ..., evidence: _Optional[_Iterable[str]] = ...) -> None: ...

class Shape(_message.Message):
    __slots__ = ("sizes",)
    SIZES_FIELD_NUMBER: _ClassVar[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class StepEntry(_message.Message):
    __slots__ = ("stage", "phase", "ordinal", "step", "count", "digest", "sum", "chain")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    phase: Phase
    ordinal: int
    step: int
    count: int
    digest: bytes
    sum: bytes
    chain: bytes
    def __init__(self, stage: _Optional[_Union[Stage, str]] = ..., phase: _Optional[_Union[Phase, str]] = ..., ordinal: _Optional[int] = ..., step: _Optional[int] = ..., count: _Optional[int] = ..., digest: _Optional[bytes] = ..., sum: _Optional[bytes] = ..., chain: _Optional[bytes] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("run_id", "attempt", "rank", "number", "scheme", "level", "record_count", "first_step", "last_step", "columns", "crc32", "closed")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    RECORD_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_STEP_FIELD_NUMBER: _ClassVar[int]
    LAST_STEP_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    rank: int
    number: int
    scheme: str
    level: str
    record_count: int
    first_step: int
    last_step: int
    columns: bytes
    crc32: int
    closed: _containers.RepeatedCompositeFieldContainer[StepEntry]
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., rank: _Optional[int] = ..., number: _Optional[int] = ..., scheme: _Optional[str] = ..., level: _Optional[str] = ..., record_count: _Optional[int] = ..., first_step: _Optional[int] = ..., last_step: _Optional[int] = ..., columns: _Optional[bytes] = ..., crc32: _Optional[int] = ..., closed: _Optional[_Iterable[_Union[StepEntry, _Mapping]]] = ...) -> None: ...

class StreamTotal(_message.Message):
    __slots__ = ("stage", "phase", "steps", "count", "chain")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    phase: Phase
    steps: int
    count: int
    chain: bytes
    def __init__(self, stage: _Optional[_Union[Stage, str]] = ..., phase: _Optional[_Union[Phase, str]] = ..., steps: _Optional[int] = ..., count: _Optional[int] = ..., chain: _Optional[bytes] = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("run_id", "attempt", "rank", "segments", "last_step", "steps_finished", "reason", "complete", "streams", "detail_json")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FINISHED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_JSON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    rank: int
    segments: int
    last_step: int
    steps_finished: int
    reason: str
    complete: bool
    streams: _containers.RepeatedCompositeFieldContainer[StreamTotal]
    detail_json: str
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., rank: _Optional[int] = ..., segments: _Optional[int] = ..., last_step: _Optional[int] = ..., steps_finished: _Optional[int] = ..., reason: _Optional[str] = ..., complete: bool = ..., streams: _Optional[_Iterable[_Union[StreamTotal, _Mapping]]] = ..., detail_json: _Optional[str] = ...) -> None: ...
