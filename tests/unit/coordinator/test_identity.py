"""Who may call what: roles, tokens, certificates (domain/identity.py)."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from detctl_coordinator.domain.identity import (
    LOCAL,
    Caller,
    Refused,
    Role,
    caller_of,
    check_call,
    digest_of,
    new_token,
    token_from_document,
    token_id_of,
    token_to_document,
)
from detctl_proto.v1 import admin_pb2, agents_pb2, audits_pb2

METHODS = {
    f"/{service.full_name}/{method.name}"
    for module in (admin_pb2, agents_pb2, audits_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
LOOKS = {"PlanAudit", "WatchAudit", "Compare", "ListMachines", "ListRuns", "ListAudits", "Show"}
SUBMITS = LOOKS | {"StartAudit", "CancelAudit", "ExplainAudit", "JoinAudit", "ImportRun", "FinishImport", "Ingest"}
SPEAKS = {"Control", "Ingest", "Content"}


def may(role: Role, machine: str = "") -> set[str]:
    """Method names that a caller of this role may call."""
    found = set()
    for method in METHODS:
        with contextlib.suppress(Refused):
            check_call(Caller("gpu1", role), method, machine)
            found.add(method.rpartition("/")[2])
    return found


def test_each_role_may_what_the_table_says_and_no_more():
    assert may(Role.VIEWER) == LOOKS
    assert may(Role.SUBMITTER) == SUBMITS
    assert may(Role.MACHINE, "gpu1") == SPEAKS
    assert may(Role.ADMIN) == {method.rpartition("/")[2] for method in METHODS}


def test_nobody_speaks_for_a_machine_but_itself():
    assert may(Role.MACHINE, "gpu2") == may(Role.MACHINE, "") == set()
    for role in (Role.VIEWER, Role.SUBMITTER, Role.ADMIN):
        assert may(role, "gpu1") == set(), "a submitter that names a machine could write into its runs"
    check_call(LOCAL, "/detctl.v1.Agents/Control", "gpu1")  # whoever opens the coordinator's own socket is its user


def refused(*arguments: object) -> Refused:
    with pytest.raises(Refused) as caught:
        caller_of(*arguments)  # type: ignore[arg-type]
    return caught.value


def test_a_token_is_known_by_its_digest_and_works_in_its_time_with_its_certificate():
    token, text = new_token(Role.MACHINE, "gpu1", "admin", 1000.0, 60.0)
    assert text not in repr(token) and digest_of(text) == token.digest and token_id_of(text) == token.token_id
    assert token_from_document(token_to_document(token)) == token
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
