"""Parses the raw bytes of a call, with limits for their size and the number of elements."""

from __future__ import annotations

import asyncio
from typing import Any

from detctl_proto.limits import MESSAGE_BYTES_MAX

from detctl_coordinator import limits
from detctl_coordinator.element_count import TooManyError, check_elements
from detctl_coordinator.errors.codes import Code, RefusedCallError

_BYTES_MAX = {
    **dict.fromkeys(("Control", "Ingest", "ImportRun", "FinishImport"), MESSAGE_BYTES_MAX),
    **dict.fromkeys(("PlanAudit", "StartAudit", "Compare", "DeleteRuns"), limits.LIST_BYTES_MAX),
}
# Elements of larger messages are counted in a thread, so that the event loop can serve other calls.
_THREAD_BYTES = 256 * 1024


class MessageParser:
    """Parses messages of one method. bytes_max: the limit of a message's size."""

    def __init__(self, method: str, deserialize: Any) -> None:
        """deserialize: FromString of a message class, as the generated code registers it."""
        self.bytes_max = _BYTES_MAX.get(method.rpartition("/")[2], limits.REQUEST_BYTES_MAX)
        self._deserialize = deserialize
        self._descriptor = deserialize.__self__.DESCRIPTOR

    async def parse(self, raw: bytes) -> Any:
        """Returns the message. Raises RefusedCallError: RESOURCE_EXHAUSTED for a message beyond the limits, INVALID_ARGUMENT for bytes that
        are not a message."""
        if len(raw) > self.bytes_max:
            raise RefusedCallError(
                Code.RESOURCE_EXHAUSTED,
                f"the message has {len(raw):,} bytes; the limit of this call is {self.bytes_max:,}",
            )
        try:
            if len(raw) > _THREAD_BYTES:
                await asyncio.to_thread(check_elements, raw, self._descriptor, limits.ELEMENTS_MAX)
            else:
                check_elements(raw, self._descriptor, limits.ELEMENTS_MAX)
            return self._deserialize(raw)
        except TooManyError as error:
            raise RefusedCallError(
                Code.RESOURCE_EXHAUSTED, f"the message has {error}, which is beyond the limit; send less at once"
            ) from error
        except Exception as error:  # MalformedError, or DecodeError, whose module differs between versions of protobuf
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"the message is not a {self._descriptor.full_name}: it cannot be parsed"
            ) from error
