"""Who may call what: roles, tokens, certificates (domain/identity.py)."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from dataclasses import replace
from types import ModuleType

import pytest
from detctl_coordinator.domain.identity import (
    LOCAL,
    OPEN_METHODS,
    RULES,
    AccessDeniedError,
    Caller,
    Role,
    caller_of,
    check_call,
    digest_of,
    new_token,
    token_id_of,
)
from detctl_coordinator.server import interceptors
from detctl_coordinator.server.server import SERVICES
from detctl_coordinator.storage.documents import token_from_json, token_to_json
from detctl_proto import v1
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

# Whatever is in proto/detctl_proto/v1, now or later, and what gRPC itself adds to our server.
OURS = [
    importlib.import_module(f"{v1.__name__}.{found.name}")
    for found in pkgutil.iter_modules(v1.__path__)
    if found.name.endswith("_pb2")
]
OF_GRPC = [health_pb2, reflection_pb2]


def services(*modules: ModuleType) -> list[ServiceDescriptor]:
    return [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]


METHODS = {f"/{service.full_name}/{method.name}" for service in services(*OURS, *OF_GRPC) for method in service.methods}
# Who may call what; a new method needs a row here and a rule in domain/identity.py.
OPEN, VIEWER, SUBMITTER, MACHINE, ADMIN = "open", Role.VIEWER, Role.SUBMITTER, Role.MACHINE, Role.ADMIN
TABLE: dict[str, set[Role] | str] = {
    "/detctl.v1.Audits/PlanAudit": {VIEWER, SUBMITTER, ADMIN},
    "/detctl.v1.Audits/WatchAudit": {VIEWER, SUBMITTER, ADMIN},
    "/detctl.v1.Audits/Compare": {VIEWER, SUBMITTER, ADMIN},
    "/detctl.v1.Audits/ListMachines": {VIEWER, SUBMITTER, ADMIN},
    "/detctl.v1.Audits/ListRuns": {VIEWER, SUBMITTER, ADMIN},
    "/detctl.v1.Audits/ListAudits": {VIEWER, SUBMITTER, ADMIN},
    "/detctl.v1.Audits/Show": {VIEWER, SUBMITTER, ADMIN},
    "/detctl.v1.Audits/StartAudit": {SUBMITTER, ADMIN},
    "/detctl.v1.Audits/CancelAudit": {SUBMITTER, ADMIN},
    "/detctl.v1.Audits/ExplainAudit": {SUBMITTER, ADMIN},
    "/detctl.v1.Audits/JoinAudit": {SUBMITTER, ADMIN},
    "/detctl.v1.Audits/ImportRun": {SUBMITTER, ADMIN},
    "/detctl.v1.Audits/FinishImport": {SUBMITTER, ADMIN},
    "/detctl.v1.Audits/DeleteRuns": {ADMIN},
    "/detctl.v1.Agents/Control": {MACHINE, ADMIN},
    "/detctl.v1.Agents/Ingest": {SUBMITTER, MACHINE, ADMIN},
    "/detctl.v1.Agents/Content": {MACHINE, ADMIN},
    "/detctl.v1.Admin/CreateToken": {ADMIN},
    "/detctl.v1.Admin/ListTokens": {ADMIN},
    "/detctl.v1.Admin/RotateToken": {ADMIN},
    "/detctl.v1.Admin/RevokeToken": {ADMIN},
    "/detctl.v1.Admin/ReadLog": {ADMIN},
    "/grpc.health.v1.Health/Check": OPEN,
    "/grpc.health.v1.Health/Watch": OPEN,
    "/grpc.health.v1.Health/List": {ADMIN},
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": {ADMIN},
}


def may(role: Role, machine: str = "") -> set[str]:
    """The methods that a caller of this role may call."""
    found = set()
    for method in METHODS:
        with contextlib.suppress(AccessDeniedError):
            check_call(Caller("gpu1", role), method, machine)
            found.add(method)
    return found


def test_every_method_of_every_service_has_a_rule_and_every_rule_a_method():
    assert set(TABLE) == METHODS
    assert set(RULES) | OPEN_METHODS == METHODS
    assert not set(RULES) & OPEN_METHODS
    assert all(RULES.values()), "a rule that lets nobody in is none"
    assert set(SERVICES) == {service.full_name for service in services(*OURS)}, (
        "what is served, and what is looked at here"
    )


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", sorted(TABLE))
def test_each_role_may_what_the_table_says_and_no_more(method, role):
    machine = "gpu1" if role is Role.MACHINE else ""
    allowed = TABLE[method]
    if allowed == OPEN:
        assert method in interceptors.OPEN_METHODS
    else:
        assert method not in interceptors.OPEN_METHODS
        assert (method in may(role, machine)) is (role in allowed)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    "method", ["/detctl.v1.Audits/NewMethod", "/detctl.v2.Audits/Show", "/other.Service/Do", "", "Show"]
)
def test_a_method_without_a_rule_is_refused_to_everybody(method, role):
    for caller in (Caller("gpu1", role), LOCAL):
        with pytest.raises(AccessDeniedError, match="may not call") as caught:
            check_call(caller, method, "gpu1" if role is Role.MACHINE else "")
        assert caught.value.known


def test_nobody_speaks_for_a_machine_but_itself():
    assert may(Role.MACHINE, "gpu2") == may(Role.MACHINE, "") == set()
    for role in (Role.VIEWER, Role.SUBMITTER, Role.ADMIN):
        assert may(role, "gpu1") == set(), "a submitter that names a machine could write into its runs"
    check_call(LOCAL, "/detctl.v1.Agents/Control", "gpu1")  # whoever opens the coordinator's own socket is its user


def refused(*arguments: object) -> AccessDeniedError:
    with pytest.raises(AccessDeniedError) as caught:
        caller_of(*arguments)  # type: ignore[arg-type]
    return caught.value


def test_a_token_is_known_by_its_digest_and_works_in_its_time_with_its_certificate():
    token, text = new_token(Role.MACHINE, "gpu1", "admin", 1000.0, 60.0)
    assert text not in repr(token) and digest_of(text) == token.digest and token_id_of(text) == token.token_id
    assert token_from_json(token_to_json(token)) == token
    for certificate in ("gpu1", None):
        assert caller_of(token, text, certificate, 1059.0) == Caller("gpu1", Role.MACHINE)
    _, other = new_token(Role.MACHINE, "gpu1", "admin", 1000.0, 60.0)
    assert not refused(token, other, "gpu1", 1001.0).known
    assert not refused(None, text, "gpu1", 1001.0).known
    assert "expired" in str(refused(token, text, "gpu1", 1060.0))
    assert "revoked" in str(refused(replace(token, revoked_unix_s=1.0), text, "gpu1", 1001.0))
    for certificate in ("gpu2", ""):
        assert refused(token, text, certificate, 1001.0).known, (
            "PERMISSION_DENIED: the token is right, the holder is not"
        )


@pytest.mark.parametrize("text", ["", "dct_", "dct_0123456789ab_short", "x" * 63, "dct_0123456789AB_" + "a" * 43])
def test_what_has_no_form_of_a_token_has_no_id(text):
    assert token_id_of(text) == ""
