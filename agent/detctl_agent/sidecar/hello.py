"""Types of the first line that attach.py sends, in JSON: it lives in another container, and may be anybody."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class _Python(BaseModel):
    executable: str


class Hello(BaseModel):
    """What attach.py says of itself and of its container."""

    argv: list[str]
    cwd: str
    umask: int
    environ: dict[str, str]
    machine: dict[str, Any]
    python: _Python
    gpu: list[dict[str, Any]]
