"""Ranges of numbers that are stored and sent: those of the contract's protobuf fields. pydantic checks them when a document is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler


class Within:
    """Annotation of a number's range. It asks for pydantic only where a document is checked: comparison on a bare GPU machine lacks it."""

    def __init__(self, **limits: Any) -> None:
        self.limits = limits

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        schema: Any = handler(source)
        schema.update(self.limits)
        return schema


U32 = Annotated[int, Within(ge=0, lt=2**32)]
U64 = Annotated[int, Within(ge=0, lt=2**64)]
I32 = Annotated[int, Within(ge=-(2**31), lt=2**31)]
Finite = Annotated[float, Within(allow_inf_nan=False)]
