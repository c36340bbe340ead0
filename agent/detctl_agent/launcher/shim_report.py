"""Types of what a shim reports of its training, in JSON: one in another container may be anybody."""

from __future__ import annotations

from pydantic import BaseModel


class ShimReport(BaseModel):
    """One line. Exit codes are negative for signals; `left`: processes that were still there."""

    started: int | None = None
    failed: str | None = None
    exit: int | None = None
    done: int | None = None
    left: int | None = None
