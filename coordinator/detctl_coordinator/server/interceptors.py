"""Every call passes this interceptor first: it identifies the caller by certificate and token, and checks the caller's rights
(domain/identity.py).

Nothing that a caller sends is read or parsed before the caller is identified.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from detctl_proto.call_metadata import MACHINE_KEY, TOKEN_KEY, token_in
from detctl_proto.limits import MESSAGE_BYTES_MAX

from detctl_coordinator import limits
from detctl_coordinator.auth.caller_context import metadata_value, set_current_caller
from detctl_coordinator.auth.token_book import TokenBook
from detctl_coordinator.domain.identity import (
    LOCAL,
    OPEN_METHODS,
    AccessDeniedError,
    Caller,
    Role,
    caller_of,
    check_call,
    token_id_of,
)
from detctl_coordinator.element_count import UNCOUNTED_BYTES
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.errors.translator import abort
from detctl_coordinator.quotas.byte_budget import ByteBudget
from detctl_coordinator.quotas.penalties import Penalties
from detctl_coordinator.quotas.quotas import Quotas, key_of
from detctl_coordinator.storage.store import StoreError
from detctl_coordinator.wire.messages import MessageParser

READ_S = 30.0  # a call with one message must send it within this time
ANYBODY = Caller("anybody", Role.VIEWER)  # callers of open methods, who share one quota


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Identifies the caller, then checks the quota, then reads the message, and then parses it.

    Refuses with UNAUTHENTICATED callers who do not prove their identity, and with PERMISSION_DENIED calls without the right, both
    before reading their data; with RESOURCE_EXHAUSTED what exceeds a limit, and with INVALID_ARGUMENT what is not a message. A stream
    is checked again at each of its messages, so that a revoked token ends it.

    own_token: the token of the coordinator's token file; None on a Unix socket, which only its owner can open, so every caller is LOCAL.
    """

    def __init__(self, own_token: str | None, tokens: TokenBook | None, quotas: Quotas) -> None:
        self._own = own_token.encode() if own_token is not None else None
        self._tokens = tokens
        self._quotas = quotas
        self._penalties = Penalties()
        self._guarded_methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._arriving = ByteBudget(limits.ARRIVING_BYTES_MAX, limits.ARRIVING_BYTES_OF_CALLER_MAX)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: Any,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is not None and method not in self._guarded_methods:
            self._guarded_methods[method] = self._guarded(handler, method)
        return self._guarded_methods.get(method, handler)

    async def _identify(self, method: str, context: Any) -> Caller:
        """Raises RefusedCallError, StoreError."""
        if self._own is None or self._tokens is None:
            return LOCAL
        if method in OPEN_METHODS:
            return ANYBODY
        metadata = context.invocation_metadata()
        text = token_in(metadata_value(metadata, TOKEN_KEY))
        if not text:
            raise RefusedCallError(
                Code.UNAUTHENTICATED, "the call needs a token in its metadata: authorization: Bearer …"
            )
        try:
            if hmac.compare_digest(text.encode("utf-8", "replace"), self._own):
                caller = LOCAL
            else:
                token = await self._tokens.get(token_id_of(text))
                caller = caller_of(token, text, _certificate_name(context), time.time())
            check_call(caller, method, metadata_value(metadata, MACHINE_KEY))
        except AccessDeniedError as error:
            raise RefusedCallError(
                Code.PERMISSION_DENIED if error.known else Code.UNAUTHENTICATED, str(error)
            ) from None
        return caller

    async def _parsed(self, parser: MessageParser, raw: bytes, key: str) -> Any:
        """Returns the message. A large message waits if the caller has penalties. Raises RefusedCallError."""
        if len(raw) > UNCOUNTED_BYTES:
            await self._penalties.wait(key)
        try:
            return await parser.parse(raw)
        except RefusedCallError as refusal:
            if refusal.code is Code.RESOURCE_EXHAUSTED:
                self._penalties.add(key)
            raise

    def _guarded(self, handler: grpc.RpcMethodHandler[Any, Any], method: str) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns a handler that takes raw bytes, checks the call, and then calls the given handler.

        It always takes a stream of requests, because gRPC reads the message before it calls any other kind of handler. On the wire the
        two are the same."""
        inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        parser = MessageParser(method, handler.request_deserializer)

        async def messages(requests: Any, context: Any, caller: Caller) -> AsyncIterator[Any]:
            async for raw in requests:
                await self._identify(method, context)
                async with self._arriving.holding(key_of(caller), len(raw), arrived=True):
                    message = await self._parsed(parser, raw, key_of(caller))
                    del raw
                    yield message
                    del message

        @contextlib.asynccontextmanager
        async def entered(requests: Any, context: Any) -> AsyncIterator[Any]:
            """Yields the argument of the inner handler, or ends the call with a status."""
            try:
                caller = await self._identify(method, context)
                set_current_caller(caller)
                with self._quotas.call(caller, method):
                    if handler.request_streaming:
                        yield messages(requests, context, caller)
                        return
                    # Reserve the largest size, because the real size is unknown until the message is in memory.
                    async with self._arriving.holding(key_of(caller), MESSAGE_BYTES_MAX) as share:
                        raw = await _only_message(requests)
                        share.shrink_to(len(raw))
                        yield await self._parsed(parser, raw, key_of(caller))
            except (RefusedCallError, StoreError) as error:
                await abort(context, error, method)

        async def one(requests: Any, context: Any) -> Any:
            async with entered(requests, context) as request:
                return await inner(request, context)

        async def many(requests: Any, context: Any) -> AsyncIterator[Any]:
            async with entered(requests, context) as request:
                async for reply in inner(request, context):
                    yield reply

        serialize = _unless_bytes(handler.response_serializer)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(many, None, serialize)
        return grpc.stream_unary_rpc_method_handler(one, None, serialize)


async def _only_message(requests: Any) -> bytes:
    """Returns the call's message. Raises RefusedCallError if it does not arrive in time."""
    try:
        async with asyncio.timeout(READ_S):
            async for raw in requests:
                return bytes(raw)
    except TimeoutError:
        pass
    raise RefusedCallError(Code.INVALID_ARGUMENT, "the call has no message")


def _unless_bytes(serialize: Any) -> Callable[[Any], bytes]:
    """Returns a serializer that passes bytes through: replies to many watchers are encoded only once."""
    return lambda reply: reply if isinstance(reply, bytes) else serialize(reply)


def _certificate_name(context: Any) -> str | None:
    """Returns the common name of the caller's certificate, which gRPC has verified; None without TLS."""
    facts = context.auth_context() or {}
    names = facts.get("x509_common_name")
    if names is None:
        return "" if b"ssl" in facts.get("transport_security_type", ()) else None
    return bytes(names[0]).decode("utf-8", "replace")
