"""Decides who calls and what they may do, by roles and tokens. It does no I/O; interceptors.py calls it (docs/security.md 3, 4)."""

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
    """A submitter may what a viewer may, an admin what a submitter may; a machine's agent speaks of its own runs alone."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    MACHINE = "machine"
    ADMIN = "admin"


_LOOKS = frozenset((Role.VIEWER, Role.SUBMITTER, Role.ADMIN))
_SUBMITS = frozenset((Role.SUBMITTER, Role.ADMIN))
_SPEAKS = frozenset((Role.MACHINE, Role.ADMIN))
_ADMINISTERS = frozenset((Role.ADMIN,))
# Who may call a method with a token. Every method that is served has a row (tests/unit/coordinator/test_identity.py reads them from
# the descriptors); what has none is refused to all.
RULES: Mapping[str, frozenset[Role]] = {
    **dict.fromkeys(
        (
            _AUDITS + name
            for name in ("PlanAudit", "WatchAudit", "Compare", "ListMachines", "ListRuns", "ListAudits", "Show")
        ),
        _LOOKS,
    ),
    **dict.fromkeys(
        (
            _AUDITS + name
            for name in ("StartAudit", "CancelAudit", "ExplainAudit", "JoinAudit", "ImportRun", "FinishImport")
        ),
        _SUBMITS,
    ),
    _AUDITS + "DeleteRuns": _ADMINISTERS,
    _AGENTS + "Control": _SPEAKS,
    _AGENTS + "Content": _SPEAKS,
    # Of imported folders and joined runs too: a run of a machine is refused by its owner's name.
    _AGENTS + "Ingest": _SPEAKS | _SUBMITS,
    **dict.fromkeys(
        (_ADMIN + name for name in ("CreateToken", "ListTokens", "RotateToken", "RevokeToken", "ReadLog")), _ADMINISTERS
    ),
    # It tells the names of methods and messages, for tools such as grpcurl: nothing that a caller of detctl needs.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ADMINISTERS,
    "/grpc.health.v1.Health/List": _ADMINISTERS,
}
# Without a token: health says nothing but "up"; probes have none.
OPEN_METHODS = frozenset(("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"))


@dataclass(frozen=True)
class Caller:
    """`name`: a machine's for its agent; `local` for whoever reads the coordinator's socket or token file."""

    name: str
    role: Role


LOCAL = Caller("local", Role.ADMIN)


@dataclass(frozen=True)
class Token:
    """As it is stored: `digest` is the SHA-256 of the token's text, which nobody keeps. Times in seconds since 1970; 0: not revoked."""

    token_id: str
    role: Role
    name: str
    digest: str
    created_by: str
    created_unix_s: Finite
    expires_unix_s: Finite
    revoked_unix_s: Finite = 0.0


class AccessDeniedError(Exception):
    """`known`: the caller showed who it is, and may not; else nobody knows who it is. One line for people."""

    def __init__(self, text: str, *, known: bool) -> None:
        super().__init__(text)
        self.known = known


def new_token(role: Role, name: str, created_by: str, now: float, valid_s: float) -> tuple[Token, str]:
    """What is stored, and the text that its holder is given."""
    token_id = secrets.token_hex(6)
    text = f"dct_{token_id}_{secrets.token_urlsafe(32)}"
    return Token(token_id, role, name, digest_of(text), created_by, now, now + valid_s), text


def digest_of(text: str) -> str:
    """Unsalted, since the secret has 256 bits of its own."""
    return hashlib.sha256(text.encode()).hexdigest()


def token_id_of(text: str) -> str:
    """Empty where the text is of another form."""
    match = TOKEN.fullmatch(text)
    return match[1] if match else ""


def caller_of(token: Token | None, text: str, certificate: str | None, now: float) -> Caller:
    """Who shows the token `text`; `token`: the stored one of its id. certificate: its common name, None without
    TLS. Raises AccessDeniedError."""
    if token is None or not hmac.compare_digest(token.digest, digest_of(text)):
        raise AccessDeniedError("wrong token", known=False)
    if token.revoked_unix_s:
        raise AccessDeniedError(f"token {token.token_id} of {token.name} was revoked", known=False)
    if now >= token.expires_unix_s:
        raise AccessDeniedError(f"token {token.token_id} of {token.name} has expired: detctl token rotate", known=False)
    if certificate is not None and certificate != token.name:
        raise AccessDeniedError(
            f"the token belongs to {token.name}, the certificate to {certificate or 'nobody'}: use those that were made together",
            known=True,
        )
    return Caller(token.name, token.role)


def check_call(caller: Caller, method: str, machine: str) -> None:
    """`machine`: for which machine the call speaks, empty for none. Raises AccessDeniedError."""
    if caller.role not in RULES.get(method, ()):
        raise AccessDeniedError(
            f"{caller.name} is a {caller.role.value}, who may not call {method.rpartition('/')[2]}", known=True
        )
    if caller == LOCAL:
        return
    if machine != (caller.name if caller.role is Role.MACHINE else ""):
        raise AccessDeniedError(f"{caller.name} may not speak for machine {machine or '(none named)'}", known=True)
