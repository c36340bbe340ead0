"""The one place that turns an exception into a status for the caller and a line of the log.

Public text goes to the caller, private text to the log.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc

from detctl_coordinator.errors.catalogue import CATALOGUE
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.observability import metrics
from detctl_coordinator.observability.logs import LineLimiter
from detctl_coordinator.storage.store import ConflictError, DocumentError, StoreError

log = logging.getLogger(__name__)

# The first class that fits counts; every other exception is INTERNAL.
_CODES: tuple[tuple[type[Exception], Code], ...] = (
    (ConflictError, Code.CONCURRENT_CHANGE),
    (DocumentError, Code.DATA_LOSS),
    (StoreError, Code.UNAVAILABLE),
)
_LINES = LineLimiter()


def translate(error: Exception) -> RefusedCallError:
    """Returns any exception as a refused call, whose text the caller may receive."""
    if isinstance(error, RefusedCallError):
        return error
    code = next((code for kind, code in _CODES if isinstance(error, kind)), Code.INTERNAL)
    private = repr(error) if code is Code.INTERNAL else str(error)
    return RefusedCallError(code, CATALOGUE[code].public_text.format(detail=error), private)


def count_refused(method: str, code: Code) -> None:
    """Adds one to the metric of refused calls."""
    metrics.REFUSED.labels(method, CATALOGUE[code].label).inc()


def _host(context: Any) -> str:
    """Returns the address that the call comes from, without the port, which differs for each connection."""
    peer = str(context.peer())
    return peer.rpartition(":")[0] if peer.startswith("ip") else peer


async def abort(context: Any, error: Exception, method: str) -> NoReturn:
    """Ends the call with the public text and logs the private one."""
    refusal = translate(error)
    entry = CATALOGUE[refusal.code]
    count_refused(method.rpartition("/")[2], refusal.code)
    more = _LINES.suffix((_host(context), method, entry.label))
    if more is not None and refusal.code is Code.INTERNAL:
        log.error("method=%s code=%s%s", method, entry.label, more, exc_info=error)
    elif more is not None:
        log.info(
            "peer=%s method=%s code=%s text=%s private=%s%s",
            _host(context), method, entry.label, refusal.text, refusal.private or "-", more,
        )  # fmt: skip
    await context.abort(entry.status, refusal.text)
    raise AssertionError("abort raises")


def unary(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wraps a servicer's method that returns one reply."""

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
    """Wraps a servicer's method that yields replies."""

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
