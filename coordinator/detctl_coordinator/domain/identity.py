"""Decides who a caller is and what they may do, from roles and tokens. It does no I/O; interceptors.py calls it (docs/security.md 3, 4)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from detctl_coordinator.domain.widths import Finite

TOKEN = re.compile(r"dct_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
VALID_S = 365 * 86_400.0
_AUDITS, _AGENTS, _ADMIN = "/detctl.v1.Audits/", "/detctl.v1.Agents/", "/detctl.v1.Admin/"


class Role(Enum):
    """A submitter has the rights of a viewer, and an admin those of a submitter. A machine's agent may only report its own runs."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    MACHINE = "machine"
    ADMIN = "admin"


_VIEWERS = frozenset((Role.VIEWER, Role.SUBMITTER, Role.ADMIN))
_SUBMITTERS = frozenset((Role.SUBMITTER, Role.ADMIN))
_AGENT_ROLES = frozenset((Role.MACHINE, Role.ADMIN))
_ADMINS = frozenset((Role.ADMIN,))
# The roles that may call each method with a token. Every served method has a row (tests/unit/coordinator/test_identity.py reads the
# methods from the descriptors). A method without a row is refused for everyone.
RULES: Mapping[str, frozenset[Role]] = {
    **dict.fromkeys(
        (
            _AUDITS + name
            for name in ("PlanAudit", "WatchAudit", "Compare", "ListMachines", "ListRuns", "ListAudits", "Show")
        ),
        _VIEWERS,
    ),
    **dict.fromkeys(
        (
            _AUDITS + name
            for name in ("StartAudit", "CancelAudit", "ExplainAudit", "JoinAudit", "ImportRun", "FinishImport")
        ),
        _SUBMITTERS,
    ),
    _AUDITS + "DeleteRuns": _ADMINS,
    _AGENTS + "Control": _AGENT_ROLES,
    _AGENTS + "Content": _AGENT_ROLES,
    # Submitters send imported folders and joined runs. A run of a machine is refused by its owner's name.
    _AGENTS + "Ingest": _AGENT_ROLES | _SUBMITTERS,
    **dict.fromkeys(
        (_ADMIN + name for name in ("CreateToken", "ListTokens", "RotateToken", "RevokeToken", "ReadLog")), _ADMINS
    ),
    # It lists methods and messages for tools such as grpcurl. Other callers do not need it.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ADMINS,
    "/grpc.health.v1.Health/List": _ADMINS,
}
# Methods that need no token, because probes of an orchestrator have none. They only report that the server is up.
OPEN_METHODS = frozenset(("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"))


@dataclass(frozen=True)
class Caller:
    """`name`: the machine's name for its agent; `local` for a caller who can read the coordinator's socket or token file."""

    name: str
    role: Role


LOCAL = Caller("local", Role.ADMIN)


@dataclass(frozen=True)
class Token:
    """A token as it is stored. `digest`: SHA-256 of its text, which is not stored. Times in seconds since 1970.
    `revoked_unix_s` 0: not revoked."""

    token_id: str
    role: Role
    name: str
    digest: str
    created_by: str
    created_unix_s: Finite
    expires_unix_s: Finite
    revoked_unix_s: Finite = 0.0


class AccessDeniedError(Exception):
    """The caller may not make this call. The text is one line for people. `known`: whether the caller proved its identity."""

    def __init__(self, text: str, *, known: bool) -> None:
        super().__init__(text)
        self.known = known


def new_token(role: Role, name: str, created_by: str, now: float, valid_s: float) -> tuple[Token, str]:
    """Returns (the token to store, the text to give to its holder). `now`, `valid_s`: seconds."""
    token_id = secrets.token_hex(6)
    text = f"dct_{token_id}_{secrets.token_urlsafe(32)}"
    return Token(token_id, role, name, digest_of(text), created_by, now, now + valid_s), text


def digest_of(text: str) -> str:
    """Returns the SHA-256 of a token's text. It is not salted, because the secret has 256 random bits."""
    return hashlib.sha256(text.encode()).hexdigest()


def token_id_of(text: str) -> str:
    """Returns the id in a token's text; empty: the text is not a token."""
    match = TOKEN.fullmatch(text)
    return match[1] if match else ""


def caller_of(token: Token | None, text: str, certificate: str | None, now: float) -> Caller:
    """Returns the caller who presents the token `text`. `token`: the stored token with its id. `certificate`: its common name; None:
    no TLS. Raises AccessDeniedError."""
    if token is None or not hmac.compare_digest(token.digest, digest_of(text)):
        raise AccessDeniedError("wrong token", known=False)
    if token.revoked_unix_s:
        raise AccessDeniedError(f"token {token.token_id} of {token.name} was revoked", known=False)
    if now >= token.expires_unix_s:
        raise AccessDeniedError(f"token {token.token_id} of {token.name} has expired: detctl token rotate", known=False)
    if certificate is not None and certificate != token.name:
        raise AccessDeniedError(
            f"the token belongs to {token.name}, but the certificate to {certificate or 'nobody'}: "
            "use a token and a certificate of the same name",
            known=True,
        )
    return Caller(token.name, token.role)


def check_call(caller: Caller, method: str, machine: str) -> None:
    """Raises AccessDeniedError if the caller may not call `method`. `machine`: the machine that the call is for; empty: none."""
    if caller.role not in RULES.get(method, ()):
        raise AccessDeniedError(
            f"{caller.name} is a {caller.role.value} and may not call {method.rpartition('/')[2]}", known=True
        )
    if caller == LOCAL:
        return
    if machine != (caller.name if caller.role is Role.MACHINE else ""):
        raise AccessDeniedError(f"{caller.name} may not act for machine {machine or '(none named)'}", known=True)
