from detctl_proto.v1 import records_pb2 as _records_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunActivity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_ACTIVITY_UNSPECIFIED: _ClassVar[RunActivity]
    RUN_ACTIVITY_QUEUED: _ClassVar[RunActivity]
    RUN_ACTIVITY_PREPARING: _ClassVar[RunActivity]
    RUN_ACTIVITY_STARTING: _ClassVar[RunActivity]
    RUN_ACTIVITY_IMPORTING: _ClassVar[RunActivity]
    RUN_ACTIVITY_BUILDING: _ClassVar[RunActivity]
    RUN_ACTIVITY_TRAINING: _ClassVar[RunActivity]
    RUN_ACTIVITY_ENDING: _ClassVar[RunActivity]
    RUN_ACTIVITY_SENDING: _ClassVar[RunActivity]

class RunPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_PHASE_UNSPECIFIED: _ClassVar[RunPhase]
    RUN_PHASE_ACCEPTED: _ClassVar[RunPhase]
    RUN_PHASE_RUNNING: _ClassVar[RunPhase]
    RUN_PHASE_ENDED: _ClassVar[RunPhase]
    RUN_PHASE_REFUSED: _ClassVar[RunPhase]
RUN_ACTIVITY_UNSPECIFIED: RunActivity
RUN_ACTIVITY_QUEUED: RunActivity
RUN_ACTIVITY_PREPARING: RunActivity
RUN_ACTIVITY_STARTING: RunActivity
RUN_ACTIVITY_IMPORTING: RunActivity
RUN_ACTIVITY_BUILDING: RunActivity
RUN_ACTIVITY_TRAINING: RunActivity
RUN_ACTIVITY_ENDING: RunActivity
RUN_ACTIVITY_SENDING: RunActivity
RUN_PHASE_UNSPECIFIED: RunPhase
RUN_PHASE_ACCEPTED: RunPhase
RUN_PHASE_RUNNING: RunPhase
RUN_PHASE_ENDED: RunPhase
RUN_PHASE_REFUSED: RunPhase

class ContentRef(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class ContentPart(_message.Message):
    __slots__ = ("site", "dtype", "shape", "content")
    SITE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    site: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    content: bytes
    def __init__(self, site: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., content: _Optional[bytes] = ...) -> None: ...

class AgentMessage(_message.Message):
    __slots__ = ("hello", "heartbeat", "run_state")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RUN_STATE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    run_state: RunState
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., run_state: _Optional[_Union[RunState, _Mapping]] = ...) -> None: ...

class CoordinatorMessage(_message.Message):
    __slots__ = ("welcome", "assignment", "stop_run", "run_state_noted")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    STOP_RUN_FIELD_NUMBER: _ClassVar[int]
    RUN_STATE_NOTED_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    assignment: Assignment
    stop_run: StopRun
    run_state_noted: RunStateNoted
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ..., stop_run: _Optional[_Union[StopRun, _Mapping]] = ..., run_state_noted: _Optional[_Union[RunStateNoted, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("machine", "version", "recipes", "environments", "manifest_json", "parallel_runs", "boot_id", "notes")
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RECIPES_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_RUNS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    machine: str
    version: str
    recipes: _containers.RepeatedCompositeFieldContainer[RecipeOffer]
    environments: _containers.RepeatedCompositeFieldContainer[EnvironmentOffer]
    manifest_json: str
    parallel_runs: int
    boot_id: str
    notes: _containers.RepeatedCompositeFieldContainer[_records_pb2.OfferNote]
    def __init__(self, machine: _Optional[str] = ..., version: _Optional[str] = ..., recipes: _Optional[_Iterable[_Union[RecipeOffer, _Mapping]]] = ..., environments: _Optional[_Iterable[_Union[EnvironmentOffer, _Mapping]]] = ..., manifest_json: _Optional[str] = ..., parallel_runs: _Optional[int] = ..., boot_id: _Optional[str] = ..., notes: _Optional[_Iterable[_Union[_records_pb2.OfferNote, _Mapping]]] = ...) -> None: ...

class RecipeOffer(_message.Message):
    __slots__ = ("name", "source_digest", "parameters", "paths", "patterns", "git_commit", "command", "timeout_s")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class PatternsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    GIT_COMMIT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    source_digest: str
    parameters: _containers.ScalarMap[str, str]
    paths: _containers.RepeatedScalarFieldContainer[str]
    patterns: _containers.ScalarMap[str, str]
    git_commit: str
    command: _containers.RepeatedScalarFieldContainer[str]
    timeout_s: int
    def __init__(self, name: _Optional[str] = ..., source_digest: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., paths: _Optional[_Iterable[str]] = ..., patterns: _Optional[_Mapping[str, str]] = ..., git_commit: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., timeout_s: _Optional[int] = ...) -> None: ...

class EnvironmentOffer(_message.Message):
    __slots__ = ("name", "emulate")
    class EmulateEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    EMULATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    emulate: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., emulate: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("runs",)
    RUNS_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[RunProgress]
    def __init__(self, runs: _Optional[_Iterable[_Union[RunProgress, _Mapping]]] = ...) -> None: ...

class RunProgress(_message.Message):
    __slots__ = ("run_id", "attempt", "step", "records", "activity", "steps_done", "elapsed_s", "last_output", "beside", "side_by_side")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    STEPS_DONE_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    LAST_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    BESIDE_FIELD_NUMBER: _ClassVar[int]
    SIDE_BY_SIDE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    step: int
    records: int
    activity: RunActivity
    steps_done: int
    elapsed_s: int
    last_output: str
    beside: int
    side_by_side: SideBySide
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., step: _Optional[int] = ..., records: _Optional[int] = ..., activity: _Optional[_Union[RunActivity, str]] = ..., steps_done: _Optional[int] = ..., elapsed_s: _Optional[int] = ..., last_output: _Optional[str] = ..., beside: _Optional[int] = ..., side_by_side: _Optional[_Union[SideBySide, _Mapping]] = ...) -> None: ...

class SideBySide(_message.Message):
    __slots__ = ("runs", "reason", "cores_used", "cores", "memory_bytes")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CORES_USED_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    runs: int
    reason: str
    cores_used: float
    cores: int
    memory_bytes: int
    def __init__(self, runs: _Optional[int] = ..., reason: _Optional[str] = ..., cores_used: _Optional[float] = ..., cores: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class RunTimings(_message.Message):
    __slots__ = ("preparing", "manifest", "known_answers", "starting", "importing", "building", "training", "ending", "sending")
    PREPARING_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    KNOWN_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    STARTING_FIELD_NUMBER: _ClassVar[int]
    IMPORTING_FIELD_NUMBER: _ClassVar[int]
    BUILDING_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    SENDING_FIELD_NUMBER: _ClassVar[int]
    preparing: float
    manifest: float
    known_answers: float
    starting: float
    importing: float
    building: float
    training: float
    ending: float
    sending: float
    def __init__(self, preparing: _Optional[float] = ..., manifest: _Optional[float] = ..., known_answers: _Optional[float] = ..., starting: _Optional[float] = ..., importing: _Optional[float] = ..., building: _Optional[float] = ..., training: _Optional[float] = ..., ending: _Optional[float] = ..., sending: _Optional[float] = ...) -> None: ...

class RunState(_message.Message):
    __slots__ = ("run_id", "attempt", "phase", "manifest_json", "exit_code", "end", "message", "output_tail", "ranks", "wall_s", "failure", "timings", "beside")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TAIL_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    WALL_S_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    BESIDE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    phase: RunPhase
    manifest_json: str
    exit_code: int
    end: str
    message: str
    output_tail: str
    ranks: int
    wall_s: float
    failure: RunFailure
    timings: RunTimings
    beside: int
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., phase: _Optional[_Union[RunPhase, str]] = ..., manifest_json: _Optional[str] = ..., exit_code: _Optional[int] = ..., end: _Optional[str] = ..., message: _Optional[str] = ..., output_tail: _Optional[str] = ..., ranks: _Optional[int] = ..., wall_s: _Optional[float] = ..., failure: _Optional[_Union[RunFailure, _Mapping]] = ..., timings: _Optional[_Union[RunTimings, _Mapping]] = ..., beside: _Optional[int] = ...) -> None: ...

class RunFailure(_message.Message):
    __slots__ = ("kind", "exit_code", "signal", "module", "file", "original", "interpreter", "tail")
    KIND_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    INTERPRETER_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    kind: str
    exit_code: int
    signal: str
    module: str
    file: str
    original: str
    interpreter: str
    tail: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kind: _Optional[str] = ..., exit_code: _Optional[int] = ..., signal: _Optional[str] = ..., module: _Optional[str] = ..., file: _Optional[str] = ..., original: _Optional[str] = ..., interpreter: _Optional[str] = ..., tail: _Optional[_Iterable[str]] = ...) -> None: ...

class RunStateNoted(_message.Message):
    __slots__ = ("run_id", "attempt", "phase")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    phase: RunPhase
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., phase: _Optional[_Union[RunPhase, str]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("coordinator", "heartbeat_s")
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_S_FIELD_NUMBER: _ClassVar[int]
    coordinator: str
    heartbeat_s: float
    def __init__(self, coordinator: _Optional[str] = ..., heartbeat_s: _Optional[float] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("run_id", "attempt", "audit_id", "recipe", "environment", "parameters", "variables", "interventions", "level", "step_from", "step_to", "expected_source_digest", "twin", "budget_share", "known_answers", "alone")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class VariablesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class InterventionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    INTERVENTIONS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    STEP_FROM_FIELD_NUMBER: _ClassVar[int]
    STEP_TO_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SOURCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TWIN_FIELD_NUMBER: _ClassVar[int]
    BUDGET_SHARE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    audit_id: str
    recipe: str
    environment: str
    parameters: _containers.ScalarMap[str, str]
    variables: _containers.ScalarMap[str, str]
    interventions: _containers.ScalarMap[str, str]
    level: str
    step_from: int
    step_to: int
    expected_source_digest: str
    twin: int
    budget_share: float
    known_answers: bool
    alone: bool
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., audit_id: _Optional[str] = ..., recipe: _Optional[str] = ..., environment: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., variables: _Optional[_Mapping[str, str]] = ..., interventions: _Optional[_Mapping[str, str]] = ..., level: _Optional[str] = ..., step_from: _Optional[int] = ..., step_to: _Optional[int] = ..., expected_source_digest: _Optional[str] = ..., twin: _Optional[int] = ..., budget_share: _Optional[float] = ..., known_answers: bool = ..., alone: bool = ...) -> None: ...

class StopRun(_message.Message):
    __slots__ = ("run_id", "attempt", "after_step", "now", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AFTER_STEP_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    after_step: int
    now: bool
    reason: str
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., after_step: _Optional[int] = ..., now: bool = ..., reason: _Optional[str] = ...) -> None: ...

class IngestRequest(_message.Message):
    __slots__ = ("segment", "seal", "secret")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    segment: _records_pb2.Segment
    seal: _records_pb2.Seal
    secret: str
    def __init__(self, segment: _Optional[_Union[_records_pb2.Segment, _Mapping]] = ..., seal: _Optional[_Union[_records_pb2.Seal, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class IngestReply(_message.Message):
    __slots__ = ("run_id", "attempt", "rank", "seal", "number", "fenced", "refused")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    rank: int
    seal: bool
    number: int
    fenced: bool
    refused: str
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., rank: _Optional[int] = ..., seal: bool = ..., number: _Optional[int] = ..., fenced: bool = ..., refused: _Optional[str] = ...) -> None: ...
