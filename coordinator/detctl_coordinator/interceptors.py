"""What every call passes first: the token of a TCP coordinator."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from detctl_coordinator.rpc.callers import TOKEN_KEY, metadata_value

log = logging.getLogger(__name__)

# Health says nothing but "up"; probes have no token.
OPEN_METHODS = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Refuses calls whose `authorization` is not `Bearer TOKEN` with UNAUTHENTICATED, before any of their data are read."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: Any,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        given = metadata_value(handler_call_details.invocation_metadata, TOKEN_KEY).encode("utf-8", "replace")
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method in OPEN_METHODS or hmac.compare_digest(given, self._expected):
            return handler
        log.warning(
            "method=%s code=UNAUTHENTICATED given=%s", handler_call_details.method, "wrong" if given else "none"
        )
        return _refusing(handler, "wrong token" if given else "a token is needed: authorization: Bearer …")


def _refusing(handler: grpc.RpcMethodHandler[Any, Any], why: str) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler of the same shape that only says no."""

    async def one(_request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, why)

    async def many(_request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, why)
        yield  # makes it a generator, as the call's shape asks

    codecs = (handler.request_deserializer, handler.response_serializer)
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(many, *codecs)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(one, *codecs)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(many, *codecs)
    return grpc.unary_unary_rpc_method_handler(one, *codecs)
