from detctl_proto.v1 import agents_pb2 as _agents_pb2
from detctl_proto.v1 import records_pb2 as _records_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunPurpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_PURPOSE_UNSPECIFIED: _ClassVar[RunPurpose]
    RUN_PURPOSE_TWIN: _ClassVar[RunPurpose]
    RUN_PURPOSE_ZOOM: _ClassVar[RunPurpose]
    RUN_PURPOSE_EXPERIMENT: _ClassVar[RunPurpose]
RUN_PURPOSE_UNSPECIFIED: RunPurpose
RUN_PURPOSE_TWIN: RunPurpose
RUN_PURPOSE_ZOOM: RunPurpose
RUN_PURPOSE_EXPERIMENT: RunPurpose

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AuditRef(_message.Message):
    __slots__ = ("audit_id",)
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    def __init__(self, audit_id: _Optional[str] = ...) -> None: ...

class Variation(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class AuditRequest(_message.Message):
    __slots__ = ("recipe", "machines", "environments", "twins", "step_from", "step_to", "to_end", "level", "set", "vary", "requested_by", "no_zoom", "budget_share", "explain", "budget_runs", "self_test", "join_only", "joiners", "stop_on_failure", "strict")
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    MACHINES_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    TWINS_FIELD_NUMBER: _ClassVar[int]
    STEP_FROM_FIELD_NUMBER: _ClassVar[int]
    STEP_TO_FIELD_NUMBER: _ClassVar[int]
    TO_END_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    VARY_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    NO_ZOOM_FIELD_NUMBER: _ClassVar[int]
    BUDGET_SHARE_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    BUDGET_RUNS_FIELD_NUMBER: _ClassVar[int]
    SELF_TEST_FIELD_NUMBER: _ClassVar[int]
    JOIN_ONLY_FIELD_NUMBER: _ClassVar[int]
    JOINERS_FIELD_NUMBER: _ClassVar[int]
    STOP_ON_FAILURE_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    recipe: str
    machines: _containers.RepeatedScalarFieldContainer[str]
    environments: _containers.RepeatedScalarFieldContainer[str]
    twins: int
    step_from: int
    step_to: int
    to_end: bool
    level: str
    set: _containers.RepeatedCompositeFieldContainer[Variation]
    vary: _containers.RepeatedCompositeFieldContainer[Variation]
    requested_by: str
    no_zoom: bool
    budget_share: float
    explain: bool
    budget_runs: int
    self_test: bool
    join_only: bool
    joiners: _containers.RepeatedScalarFieldContainer[str]
    stop_on_failure: bool
    strict: bool
    def __init__(self, recipe: _Optional[str] = ..., machines: _Optional[_Iterable[str]] = ..., environments: _Optional[_Iterable[str]] = ..., twins: _Optional[int] = ..., step_from: _Optional[int] = ..., step_to: _Optional[int] = ..., to_end: bool = ..., level: _Optional[str] = ..., set: _Optional[_Iterable[_Union[Variation, _Mapping]]] = ..., vary: _Optional[_Iterable[_Union[Variation, _Mapping]]] = ..., requested_by: _Optional[str] = ..., no_zoom: bool = ..., budget_share: _Optional[float] = ..., explain: bool = ..., budget_runs: _Optional[int] = ..., self_test: bool = ..., join_only: bool = ..., joiners: _Optional[_Iterable[str]] = ..., stop_on_failure: bool = ..., strict: bool = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("audit_id", "budget_runs", "self_test")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGET_RUNS_FIELD_NUMBER: _ClassVar[int]
    SELF_TEST_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    budget_runs: int
    self_test: bool
    def __init__(self, audit_id: _Optional[str] = ..., budget_runs: _Optional[int] = ..., self_test: bool = ...) -> None: ...

class PlannedRun(_message.Message):
    __slots__ = ("run_id", "label", "machine")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    label: str
    machine: str
    def __init__(self, run_id: _Optional[str] = ..., label: _Optional[str] = ..., machine: _Optional[str] = ...) -> None: ...

class AuditPlan(_message.Message):
    __slots__ = ("audit_id", "runs", "warnings")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    runs: _containers.RepeatedCompositeFieldContainer[PlannedRun]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, audit_id: _Optional[str] = ..., runs: _Optional[_Iterable[_Union[PlannedRun, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class RunStatus(_message.Message):
    __slots__ = ("run_id", "label", "machine", "state", "step", "records", "message", "attempt", "activity", "steps_done", "step_to", "elapsed_s", "last_output", "purpose", "beside", "side_by_side", "timings")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    STEPS_DONE_FIELD_NUMBER: _ClassVar[int]
    STEP_TO_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    LAST_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    BESIDE_FIELD_NUMBER: _ClassVar[int]
    SIDE_BY_SIDE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    label: str
    machine: str
    state: str
    step: int
    records: int
    message: str
    attempt: int
    activity: _agents_pb2.RunActivity
    steps_done: int
    step_to: int
    elapsed_s: int
    last_output: str
    purpose: RunPurpose
    beside: int
    side_by_side: _agents_pb2.SideBySide
    timings: _agents_pb2.RunTimings
    def __init__(self, run_id: _Optional[str] = ..., label: _Optional[str] = ..., machine: _Optional[str] = ..., state: _Optional[str] = ..., step: _Optional[int] = ..., records: _Optional[int] = ..., message: _Optional[str] = ..., attempt: _Optional[int] = ..., activity: _Optional[_Union[_agents_pb2.RunActivity, str]] = ..., steps_done: _Optional[int] = ..., step_to: _Optional[int] = ..., elapsed_s: _Optional[int] = ..., last_output: _Optional[str] = ..., purpose: _Optional[_Union[RunPurpose, str]] = ..., beside: _Optional[int] = ..., side_by_side: _Optional[_Union[_agents_pb2.SideBySide, _Mapping]] = ..., timings: _Optional[_Union[_agents_pb2.RunTimings, _Mapping]] = ...) -> None: ...

class AuditProgress(_message.Message):
    __slots__ = ("audit_id", "state", "runs", "fingerprints_per_s", "message", "verdict_json", "trying", "experiments_done", "experiments_known")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINTS_PER_S_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_JSON_FIELD_NUMBER: _ClassVar[int]
    TRYING_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENTS_DONE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENTS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    state: str
    runs: _containers.RepeatedCompositeFieldContainer[RunStatus]
    fingerprints_per_s: float
    message: str
    verdict_json: str
    trying: str
    experiments_done: int
    experiments_known: int
    def __init__(self, audit_id: _Optional[str] = ..., state: _Optional[str] = ..., runs: _Optional[_Iterable[_Union[RunStatus, _Mapping]]] = ..., fingerprints_per_s: _Optional[float] = ..., message: _Optional[str] = ..., verdict_json: _Optional[str] = ..., trying: _Optional[str] = ..., experiments_done: _Optional[int] = ..., experiments_known: _Optional[int] = ...) -> None: ...

class CompareRequest(_message.Message):
    __slots__ = ("machines", "recipe", "audit_id", "run_ids", "strict")
    MACHINES_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    machines: _containers.RepeatedScalarFieldContainer[str]
    recipe: str
    audit_id: str
    run_ids: _containers.RepeatedScalarFieldContainer[str]
    strict: bool
    def __init__(self, machines: _Optional[_Iterable[str]] = ..., recipe: _Optional[str] = ..., audit_id: _Optional[str] = ..., run_ids: _Optional[_Iterable[str]] = ..., strict: bool = ...) -> None: ...

class VerdictReply(_message.Message):
    __slots__ = ("verdict_json",)
    VERDICT_JSON_FIELD_NUMBER: _ClassVar[int]
    verdict_json: str
    def __init__(self, verdict_json: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("audit_id", "machine", "recipe", "limit", "since_unix_s", "until_unix_s", "outcome")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    UNTIL_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    machine: str
    recipe: str
    limit: int
    since_unix_s: float
    until_unix_s: float
    outcome: str
    def __init__(self, audit_id: _Optional[str] = ..., machine: _Optional[str] = ..., recipe: _Optional[str] = ..., limit: _Optional[int] = ..., since_unix_s: _Optional[float] = ..., until_unix_s: _Optional[float] = ..., outcome: _Optional[str] = ...) -> None: ...

class MachineInfo(_message.Message):
    __slots__ = ("name", "connected", "last_seen_unix_s", "recipes", "environments", "manifest_json", "version", "notes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    RECIPES_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    connected: bool
    last_seen_unix_s: float
    recipes: _containers.RepeatedScalarFieldContainer[str]
    environments: _containers.RepeatedScalarFieldContainer[str]
    manifest_json: str
    version: str
    notes: _containers.RepeatedCompositeFieldContainer[_records_pb2.OfferNote]
    def __init__(self, name: _Optional[str] = ..., connected: bool = ..., last_seen_unix_s: _Optional[float] = ..., recipes: _Optional[_Iterable[str]] = ..., environments: _Optional[_Iterable[str]] = ..., manifest_json: _Optional[str] = ..., version: _Optional[str] = ..., notes: _Optional[_Iterable[_Union[_records_pb2.OfferNote, _Mapping]]] = ...) -> None: ...

class MachineList(_message.Message):
    __slots__ = ("machines",)
    MACHINES_FIELD_NUMBER: _ClassVar[int]
    machines: _containers.RepeatedCompositeFieldContainer[MachineInfo]
    def __init__(self, machines: _Optional[_Iterable[_Union[MachineInfo, _Mapping]]] = ...) -> None: ...

class RunInfo(_message.Message):
    __slots__ = ("status", "audit_id", "recipe", "created_unix_s", "ranks", "exit_code", "end")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    status: RunStatus
    audit_id: str
    recipe: str
    created_unix_s: float
    ranks: int
    exit_code: int
    end: str
    def __init__(self, status: _Optional[_Union[RunStatus, _Mapping]] = ..., audit_id: _Optional[str] = ..., recipe: _Optional[str] = ..., created_unix_s: _Optional[float] = ..., ranks: _Optional[int] = ..., exit_code: _Optional[int] = ..., end: _Optional[str] = ...) -> None: ...

class RunList(_message.Message):
    __slots__ = ("runs", "more")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[RunInfo]
    more: bool
    def __init__(self, runs: _Optional[_Iterable[_Union[RunInfo, _Mapping]]] = ..., more: bool = ...) -> None: ...

class AuditInfo(_message.Message):
    __slots__ = ("audit_id", "recipe", "state", "outcome", "origin", "causes", "created_unix_s", "machines")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    MACHINES_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    recipe: str
    state: str
    outcome: str
    origin: str
    causes: _containers.RepeatedScalarFieldContainer[str]
    created_unix_s: float
    machines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, audit_id: _Optional[str] = ..., recipe: _Optional[str] = ..., state: _Optional[str] = ..., outcome: _Optional[str] = ..., origin: _Optional[str] = ..., causes: _Optional[_Iterable[str]] = ..., created_unix_s: _Optional[float] = ..., machines: _Optional[_Iterable[str]] = ...) -> None: ...

class AuditList(_message.Message):
    __slots__ = ("audits", "more")
    AUDITS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    audits: _containers.RepeatedCompositeFieldContainer[AuditInfo]
    more: bool
    def __init__(self, audits: _Optional[_Iterable[_Union[AuditInfo, _Mapping]]] = ..., more: bool = ...) -> None: ...

class ShowRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ShowReply(_message.Message):
    __slots__ = ("kind", "json")
    KIND_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    kind: str
    json: str
    def __init__(self, kind: _Optional[str] = ..., json: _Optional[str] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("run_ids", "audit_id", "older_than_s", "keep_audits")
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    OLDER_THAN_S_FIELD_NUMBER: _ClassVar[int]
    KEEP_AUDITS_FIELD_NUMBER: _ClassVar[int]
    run_ids: _containers.RepeatedScalarFieldContainer[str]
    audit_id: str
    older_than_s: float
    keep_audits: bool
    def __init__(self, run_ids: _Optional[_Iterable[str]] = ..., audit_id: _Optional[str] = ..., older_than_s: _Optional[float] = ..., keep_audits: bool = ...) -> None: ...

class DeleteReply(_message.Message):
    __slots__ = ("run_ids",)
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    run_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, run_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("audit_id", "machine", "environment", "holder", "again")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    machine: str
    environment: str
    holder: str
    again: bool
    def __init__(self, audit_id: _Optional[str] = ..., machine: _Optional[str] = ..., environment: _Optional[str] = ..., holder: _Optional[str] = ..., again: bool = ...) -> None: ...

class JoinReply(_message.Message):
    __slots__ = ("run_id", "attempt", "label", "level", "step_from", "step_to", "budget_share", "variables", "interventions", "left", "secret")
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
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    STEP_FROM_FIELD_NUMBER: _ClassVar[int]
    STEP_TO_FIELD_NUMBER: _ClassVar[int]
    BUDGET_SHARE_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    INTERVENTIONS_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    label: str
    level: str
    step_from: int
    step_to: int
    budget_share: float
    variables: _containers.ScalarMap[str, str]
    interventions: _containers.ScalarMap[str, str]
    left: int
    secret: str
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., label: _Optional[str] = ..., level: _Optional[str] = ..., step_from: _Optional[int] = ..., step_to: _Optional[int] = ..., budget_share: _Optional[float] = ..., variables: _Optional[_Mapping[str, str]] = ..., interventions: _Optional[_Mapping[str, str]] = ..., left: _Optional[int] = ..., secret: _Optional[str] = ...) -> None: ...

class ImportRequest(_message.Message):
    __slots__ = ("label", "run_json")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    RUN_JSON_FIELD_NUMBER: _ClassVar[int]
    label: str
    run_json: str
    def __init__(self, label: _Optional[str] = ..., run_json: _Optional[str] = ...) -> None: ...

class ImportReply(_message.Message):
    __slots__ = ("run_id", "secret")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    secret: str
    def __init__(self, run_id: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class ImportFinished(_message.Message):
    __slots__ = ("run_id", "manifest_json", "exit_code", "end", "message", "ranks", "output_tail", "attempt", "secret")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TAIL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    manifest_json: str
    exit_code: int
    end: str
    message: str
    ranks: int
    output_tail: str
    attempt: int
    secret: str
    def __init__(self, run_id: _Optional[str] = ..., manifest_json: _Optional[str] = ..., exit_code: _Optional[int] = ..., end: _Optional[str] = ..., message: _Optional[str] = ..., ranks: _Optional[int] = ..., output_tail: _Optional[str] = ..., attempt: _Optional[int] = ..., secret: _Optional[str] = ...) -> None: ...
