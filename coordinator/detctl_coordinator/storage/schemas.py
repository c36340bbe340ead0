"""What each stored document must look like, so that whoever reads one can rely on its types.

A document that does not fit is one clear DocumentError about itself, never a TypeError in the middle of a list of a thousand others.
Numbers have the widths of the contract's fields: what is read here can be put into a message. Keys that are not listed were written
by a newer detctl: they pass, and whoever reads takes what it knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Required

from detctl_proto.outside_json import describe_faults
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from detctl_coordinator.storage.store import DocumentError

U32 = Annotated[int, Field(ge=0, lt=2**32)]
U64 = Annotated[int, Field(ge=0, lt=2**64)]
I32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Texts = dict[str, str]
Facts = dict[str, Any]


class _Document(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]


class _Request(_Document, total=False):
    recipe: Required[str]
    machines: Required[list[str]]
    environments: list[str]
    twins: U32
    step_from: U32
    step_to: U32 | None
    to_end: bool
    level: str
    set: list[tuple[str, str]]
    vary: list[tuple[str, list[str]]]
    requested_by: str
    budget_share: Finite
    zoom: bool
    explain: bool
    budget_runs: U32
    self_test: bool
    join_only: bool


class _Spec(_Document, total=False):
    run_id: Required[str]
    audit_id: Required[str]
    recipe: Required[str]
    machine: Required[str]
    environment: str
    variation: list[tuple[str, str]]
    twin: Required[U32]
    parameters: Texts
    variables: Texts
    interventions: Texts
    level: str
    step_from: U32
    step_to: U32 | None
    expected_source_digest: str
    budget_share: Finite
    purpose: Literal["", "zoom", "experiment"]


class _Outcome(_Document, total=False):
    end: Required[str]
    exit_code: I32
    message: str
    output_tail: str
    ranks: U32
    wall_s: Finite


class _Run(_Document, total=False):
    spec: Required[_Spec]
    state: Required[str]
    attempt: U32
    boot_id: str
    step: U32
    records: U64
    created_unix_s: Finite
    manifest: Facts
    outcome: _Outcome | None
    message: str
    holder: str
    secret_digest: str


class _Audit(_Document, total=False):
    audit_id: Required[str]
    request: Required[_Request]
    state: Required[str]
    runs: list[_Run]
    created_unix_s: Finite
    version: U64
    stop_after_step: U32 | None
    verdict_json: str
    message: str
    trying: str
    owner: str


class _Seal(_Document, total=False):
    rank: Required[U32]
    segments: Required[U32]
    last_step: Required[U32]
    steps_finished: Required[U32]
    reason: Required[str]
    complete: Required[bool]
    streams: Required[list[tuple[U32, int, int, U64, U64, str]]]
    detail: Facts


# Of these every key is an argument of a dataclass: what is not known must not pass.
class _Recipe(TypedDict, total=False):
    name: Required[str]
    source_digest: str
    parameters: Texts
    paths: Required[list[str]]
    patterns: Texts
    git_commit: str
    command: Required[list[str]]
    timeout_s: int


class _Machine(TypedDict):
    name: str
    boot_id: str
    version: str
    recipes: list[_Recipe]
    environments: dict[str, Texts]
    manifest: Facts
    parallel_runs: U32
    working: list[tuple[str, U32, U32, U64]]
    connected: bool
    beat: str
    last_seen_unix_s: Finite


class _Token(TypedDict, total=False):
    token_id: Required[str]
    role: Required[Literal["viewer", "submitter", "machine", "admin"]]
    name: Required[str]
    digest: Required[str]
    created_by: Required[str]
    created_unix_s: Required[Finite]
    expires_unix_s: Required[Finite]
    revoked_unix_s: Finite


class _LogEntry(_Document):
    at: Finite
    who: str
    event: str
    text: str
    audit: str
    machine: str
    detail: Facts


_AUDIT = TypeAdapter(_Audit)
_SEAL = TypeAdapter(_Seal)
_MACHINE = TypeAdapter(_Machine)
_TOKEN = TypeAdapter(_Token)
_LOG_ENTRY = TypeAdapter(_LogEntry)


def checked_audit(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of an audit with what is known of it, in the types above. Raises DocumentError."""
    return _checked(_AUDIT, document, "an audit's document")


def checked_seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a rank's seal."""
    return _checked(_SEAL, document, "a seal")


def checked_machine(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a machine."""
    return _checked(_MACHINE, document, "a machine's document")


def checked_token(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a token."""
    return _checked(_TOKEN, document, "a token's document")


def checked_log_entry(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same for an entry of the log."""
    return _checked(_LOG_ENTRY, document, "a log entry")


def _checked(adapter: TypeAdapter[Any], document: Mapping[str, Any], what: str) -> dict[str, Any]:
    try:
        return dict(adapter.validate_python(dict(document)))
    except ValidationError as error:
        raise DocumentError(describe_faults(f"{what} in the store is damaged", error.errors())) from None
