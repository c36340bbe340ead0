"""The Admin service: tokens, and the log of who requested what. interceptors.py has already checked the caller's rights."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from detctl_proto.limits import LIST_MAX
from detctl_proto.outside_json import dump
from detctl_proto.v1 import admin_pb2 as pb
from detctl_proto.v1 import admin_pb2_grpc

from detctl_coordinator import limits
from detctl_coordinator.auth.caller_context import current_caller
from detctl_coordinator.auth.token_book import TokenBook
from detctl_coordinator.domain.identity import LOCAL, VALID_S, Role, Token, new_token
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.errors.translator import unary
from detctl_coordinator.scheduling.audit_log import entry
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.documents import (
    LogEntry,
    log_entry_from_json,
    read_tokens,
    token_to_json,
    unreadable_entry,
)
from detctl_coordinator.storage.store import DocumentError
from detctl_coordinator.wire.checks import identifier

VALID_S_MAX = 10 * VALID_S
DAY_S = 24 * 3600
GRACE_S_MAX = 30 * 86_400.0


class AdminServicer(admin_pb2_grpc.AdminServicer):
    """See admin.proto."""

    def __init__(self, store: AsyncStore, tokens: TokenBook) -> None:
        self._store = store
        self._tokens = tokens

    @unary
    async def CreateToken(self, request: pb.TokenRequest, context: Any) -> pb.NewToken:  # noqa: N802
        try:
            role = Role(request.role)
        except ValueError:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"unknown role {limits.clean(request.role, 40)!r}: choose one of {_ROLES}"
            ) from None
        if identifier(request.name, "name") == LOCAL.name:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"name {LOCAL.name!r} belongs to the coordinator's own user: choose another name"
            )
        return await self._issue(role, request.name, request.valid_s)

    @unary
    async def RotateToken(self, request: pb.RotateRequest, context: Any) -> pb.NewToken:  # noqa: N802
        old = await self._token(request.token_id)
        if old.revoked_unix_s:
            raise RefusedCallError(Code.FAILED_PRECONDITION, f"token {old.token_id} was revoked: create a new one")
        if not 0 <= request.grace_s <= GRACE_S_MAX:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"a grace of {request.grace_s:g} s is not between 0 and {GRACE_S_MAX:g} s"
            )
        new = await self._issue(old.role, old.name, request.valid_s)
        now = time.time()
        if request.grace_s:
            ended = replace(old, expires_unix_s=min(old.expires_unix_s, now + request.grace_s))
        else:
            ended = replace(old, revoked_unix_s=now)
        await self._put(ended, "token-rotated", f"{old.token_id} of {old.name} by {new.info.token_id}")
        return new

    @unary
    async def RevokeToken(self, request: pb.TokenRef, context: Any) -> pb.TokenInfo:  # noqa: N802
        token = await self._token(request.token_id)
        if not token.revoked_unix_s:
            token = replace(token, revoked_unix_s=time.time())
            await self._put(token, "token-revoked", f"{token.token_id} of {token.name} ({token.role.value})")
        return _info(token)

    @unary
    async def ListTokens(self, request: pb.TokenQuery, context: Any) -> pb.TokenList:  # noqa: N802
        tokens = read_tokens(await self._store.tokens())
        matching = [token for token in tokens.values() if request.name in ("", token.name)]
        bad = [
            pb.TokenInfo(token_id=row.name, role="unreadable", name=limits.clean(row.text)) for row in tokens.unreadable
        ]
        return pb.TokenList(
            tokens=[*bad, *(_info(one) for one in sorted(matching, key=lambda one: (one.name, one.created_unix_s)))]
        )

    @unary
    async def ReadLog(self, request: pb.LogRequest, context: Any) -> pb.LogPage:  # noqa: N802
        limit = min(request.limit or 100, LIST_MAX)
        page = LIST_MAX if request.audit_id or request.machine else limit
        entries: list[pb.LogEntry] = []
        before = request.before
        while len(entries) < limit:
            rows = await self._store.log(before, page)
            entries += [
                _entry(number, document)
                for number, document in ((number, _readable(number, entry)) for number, entry in rows)
                if request.audit_id in ("", document["audit"]) and request.machine in ("", document["machine"])
            ]
            if not rows or rows[-1][0] == 1:
                break
            before = rows[-1][0]
        return pb.LogPage(entries=entries[:limit])

    async def _issue(self, role: Role, name: str, valid_s: float) -> pb.NewToken:
        if not 0 <= valid_s <= VALID_S_MAX:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT,
                f"a token cannot be valid for {valid_s / DAY_S:g} days: the limit is {VALID_S_MAX / DAY_S:g} days",
            )
        token, text = new_token(role, name, current_caller().name, time.time(), valid_s or VALID_S)
        await self._put(token, "token-created", f"{token.token_id} for {name} ({role.value})")
        return pb.NewToken(info=_info(token), token=text)

    async def _put(self, token: Token, event: str, text: str) -> None:
        """Writes the log entry, then the token: a token that the log does not show must not work."""
        document = entry(time.time(), current_caller().name, event, text, token=token.token_id)
        await self._store.append_log(f"{event}:{secrets.token_hex(8)}", document)
        await self._store.put_token(token.token_id, token_to_json(token))
        self._tokens.forget()

    async def _token(self, token_id: str) -> Token:
        tokens = read_tokens(await self._store.tokens())
        token = tokens.get(token_id)
        if token is None:
            bad = next((row.text for row in tokens.unreadable if row.name == token_id), "")
            if bad:
                raise RefusedCallError(Code.DATA_LOSS, limits.clean(bad))
            raise RefusedCallError(
                Code.NOT_FOUND, f"no token has the id {limits.clean(token_id, 40)!r}; see detctl token list"
            )
        return token


_ROLES = ", ".join(role.value for role in Role)


def _info(token: Token) -> pb.TokenInfo:
    return pb.TokenInfo(
        token_id=token.token_id,
        role=token.role.value,
        name=token.name,
        created_by=token.created_by,
        created_unix_s=token.created_unix_s,
        expires_unix_s=token.expires_unix_s,
        revoked_unix_s=token.revoked_unix_s,
    )


def _readable(number: int, document: Mapping[str, Any]) -> LogEntry:
    """Returns the entry, or a replacement that gives the reason why the entry cannot be read."""
    try:
        return log_entry_from_json(document)
    except DocumentError as error:
        return unreadable_entry(number, str(error))


def _entry(number: int, document: LogEntry) -> pb.LogEntry:
    return pb.LogEntry(
        number=number,
        at_unix_s=document["at"],
        who=document["who"],
        event=document["event"],
        audit_id=document["audit"],
        machine=document["machine"],
        text=limits.clean(document["text"]),
        detail_json=dump(dict(sorted(document["detail"].items())), f"the detail of log entry {number}"),
    )
