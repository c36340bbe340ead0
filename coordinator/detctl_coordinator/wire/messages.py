"""Raw bytes of a call to the message that they are: bounded in size and in the number of elements, and never a traceback."""

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
# Whose elements are counted beside the event loop: other calls are answered meanwhile.
_ASIDE_BYTES = 256 * 1024


class MessageParser:
    """Of one method. `bytes_max`: of a message."""

    def __init__(self, method: str, deserialize: Any) -> None:
        """deserialize: FromString of a message class, as the generated code registers it."""
        self.bytes_max = _BYTES_MAX.get(method.rpartition("/")[2], limits.REQUEST_BYTES_MAX)
        self._deserialize = deserialize
        self._descriptor = deserialize.__self__.DESCRIPTOR

    async def parse(self, raw: bytes) -> Any:
        """Raises RefusedCallError: RESOURCE_EXHAUSTED for a message beyond the limits, INVALID_ARGUMENT for what is not a message."""
        if len(raw) > self.bytes_max:
            raise RefusedCallError(
                Code.RESOURCE_EXHAUSTED, f"a message of {len(raw):,} bytes; this call takes at most {self.bytes_max:,}"
            )
        try:
            if len(raw) > _ASIDE_BYTES:
                await asyncio.to_thread(check_elements, raw, self._descriptor, limits.ELEMENTS_MAX)
            else:
                check_elements(raw, self._descriptor, limits.ELEMENTS_MAX)
            return self._deserialize(raw)
        except TooManyError as error:
            raise RefusedCallError(
                Code.RESOURCE_EXHAUSTED, f"a message with {error}, which is beyond the limit; send less at once"
            ) from error
        except Exception as error:  # MalformedError; DecodeError lives elsewhere in each protobuf
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"the message is not a {self._descriptor.full_name}: it cannot be parsed"
            ) from error
