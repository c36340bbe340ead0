"""Types of a shim's JSON reports, which cannot be trusted if it is in another container."""

from __future__ import annotations

from pydantic import BaseModel


class ShimReport(BaseModel):
    """One report. Exit codes are negative for signals; `left`: number of processes that did not end."""

    started: int | None = None
    failed: str | None = None
    exit: int | None = None
    done: int | None = None
    left: int | None = None
