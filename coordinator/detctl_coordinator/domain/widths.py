"""Ranges of numbers that are stored and sent: those of the contract's protobuf fields. pydantic checks them when a document is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

U32 = Annotated[int, Field(ge=0, lt=2**32)]
U64 = Annotated[int, Field(ge=0, lt=2**64)]
I32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
