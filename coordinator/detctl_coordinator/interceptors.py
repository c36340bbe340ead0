"""What every call passes first: who calls, by certificate and token, and whether they may (domain/identity.py decides)."""

from __future__ import annotations

import contextlib
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc

from detctl_coordinator.domain.identity import (
    LOCAL,
    OPEN_METHODS,
    Caller,
    Refused,
    caller_of,
    check_call,
    token_id_of,
)
from detctl_coordinator.errors import Code, Refusal, abort
from detctl_coordinator.rpc.callers import MACHINE_KEY, TOKEN_KEY, metadata_value
from detctl_coordinator.storage.store import StoreError
from detctl_coordinator.token_book import TokenBook

log = logging.getLogger(__name__)

_CALLER: ContextVar[Caller] = ContextVar("caller", default=LOCAL)


def current_caller() -> Caller:
    """Who makes the call that is being served; LOCAL on a Unix socket, which only its owner can open."""
    return _CALLER.get()


class IdentityInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Refuses with UNAUTHENTICATED who does not show who they are, with PERMISSION_DENIED who may not, before any of their data are read.

    A stream is asked again at each of its messages, so that a revoked token ends it. `own_token`: of the coordinator's token file.
    """

    def __init__(self, own_token: str, tokens: TokenBook) -> None:
        self._own = own_token.encode()
        self._tokens = tokens

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: Any,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method in OPEN_METHODS:
            return handler
        return self._guarded(handler, method)

    async def _identify(self, method: str, context: Any) -> Caller:
        """Raises Refusal, StoreError."""
        metadata = context.invocation_metadata()
        scheme, _, text = metadata_value(metadata, TOKEN_KEY).partition(" ")
        if scheme != "Bearer" or not text:
            raise Refusal(Code.WHO, "a token is needed: authorization: Bearer …")
        try:
            if hmac.compare_digest(text.encode("utf-8", "replace"), self._own):
                caller = LOCAL
            else:
                token = await self._tokens.get(token_id_of(text))
                caller = caller_of(token, text, _certificate_name(context), time.time())
            check_call(caller, method, metadata_value(metadata, MACHINE_KEY))
        except Refused as error:
            raise Refusal(Code.NOT_YOURS if error.known else Code.WHO, str(error)) from None
        return caller

    def _guarded(self, handler: grpc.RpcMethodHandler[Any, Any], method: str) -> grpc.RpcMethodHandler[Any, Any]:
        """A handler of the same shape that asks first."""
        inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        async def asked_again(requests: Any, context: Any) -> AsyncIterator[Any]:
            async for request in requests:
                await self._identify(method, context)
                yield request

        async def enter(request: Any, context: Any) -> Any:
            _CALLER.set(await self._identify(method, context))
            return asked_again(request, context) if handler.request_streaming else request

        @contextlib.asynccontextmanager
        async def refusing(context: Any) -> AsyncIterator[None]:
            try:
                yield
            except (Refusal, StoreError) as error:
                await abort(context, error, method)

        async def one(request: Any, context: Any) -> Any:
            async with refusing(context):
                return await inner(await enter(request, context), context)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            async with refusing(context):
                async for reply in inner(await enter(request, context), context):
                    yield reply

        codecs = (handler.request_deserializer, handler.response_serializer)
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(many, *codecs)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(one, *codecs)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(many, *codecs)
        return grpc.unary_unary_rpc_method_handler(one, *codecs)


def _certificate_name(context: Any) -> str | None:
    """The common name on the caller's certificate, None without TLS. gRPC has checked the certificate."""
    facts = context.auth_context() or {}
    names = facts.get("x509_common_name")
    if names is None:
        return "" if b"ssl" in facts.get("transport_security_type", ()) else None
    return bytes(names[0]).decode("utf-8", "replace")
