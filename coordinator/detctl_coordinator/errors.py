"""Codes, what each means on the wire, and the one translator. Public text goes to the caller, private text to the log."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Any, NoReturn

import grpc

from detctl_coordinator import metrics
from detctl_coordinator.logs import LineLimiter
from detctl_coordinator.storage.store import ConflictError, DocumentError, StoreError

log = logging.getLogger(__name__)


class Code(Enum):
    """Each with its gRPC status; the CLI picks its exit code by the status (NOT_FOUND, INVALID 2; FAILED_PRECONDITION, DATA_LOSS 3)."""

    NOT_FOUND = grpc.StatusCode.NOT_FOUND
    INVALID = grpc.StatusCode.INVALID_ARGUMENT
    NOT_NOW = grpc.StatusCode.FAILED_PRECONDITION
    TOO_MUCH = grpc.StatusCode.RESOURCE_EXHAUSTED
    TAKEN = grpc.StatusCode.ALREADY_EXISTS
    NOT_YOURS = grpc.StatusCode.PERMISSION_DENIED
    WHO = grpc.StatusCode.UNAUTHENTICATED
    DAMAGED = grpc.StatusCode.DATA_LOSS
    STORE = grpc.StatusCode.UNAVAILABLE
    INTERNAL = grpc.StatusCode.INTERNAL


class RefusedCallError(Exception):
    """Something that the caller did or may do better. `text`: one line for people; `private`: for the log alone."""

    def __init__(self, code: Code, text: str, private: str = "") -> None:
        super().__init__(text)
        self.code, self.text, self.private = code, text, private


def refusal_of(error: Exception) -> RefusedCallError:
    """Any exception as what the caller may hear."""
    if isinstance(error, RefusedCallError):
        return error
    if isinstance(error, ConflictError):
        return RefusedCallError(Code.STORE, "somebody else changed it at the same moment; try again", str(error))
    if isinstance(error, DocumentError):
        return RefusedCallError(Code.DAMAGED, f"what is stored of it cannot be read: {error}")
    if isinstance(error, StoreError):
        return RefusedCallError(Code.STORE, f"the coordinator's store does not answer: {error}", str(error))
    return RefusedCallError(Code.INTERNAL, "internal error in the coordinator; its log has the details", repr(error))


_LINES = LineLimiter()


def _host(context: Any) -> str:
    """Where the call comes from, without the port, which every connection has its own of."""
    peer = str(context.peer())
    return peer.rpartition(":")[0] if peer.startswith("ip") else peer


async def abort(context: Any, error: Exception, method: str) -> NoReturn:
    """Ends the call with what the caller may hear, and logs the rest."""
    refusal = refusal_of(error)
    metrics.REFUSED.labels(method.rpartition("/")[2], refusal.code.name).inc()
    more = _LINES.suffix((_host(context), method, refusal.code))
    if more is not None and refusal.code is Code.INTERNAL:
        log.error("method=%s code=INTERNAL%s", method, more, exc_info=error)
    elif more is not None:
        log.info(
            "peer=%s method=%s code=%s text=%s private=%s%s",
            _host(context), method, refusal.code.name, refusal.text, refusal.private or "-", more,
        )  # fmt: skip
    await context.abort(refusal.code.value, refusal.text)
    raise AssertionError("abort raises")


def unary(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wraps a servicer's method of one answer."""

    @functools.wraps(method)
    async def translated(self: Any, request: Any, context: Any) -> Any:
        try:
            return await method(self, request, context)
        except (grpc.RpcError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await abort(context, error, method.__name__)

    return translated


def streaming(method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """Wraps a servicer's method that yields answers."""

    @functools.wraps(method)
    async def translated(self: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for reply in method(self, request, context):
                yield reply
        except (grpc.RpcError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await abort(context, error, method.__name__)

    return translated
