"""Types of the first JSON line that attach.py sends, which cannot be trusted because it is in another container."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class _Python(BaseModel):
    executable: str


class Hello(BaseModel):
    """The first message of attach.py: the command, and facts about its container."""

    argv: list[str]
    cwd: str
    umask: int
    environ: dict[str, str]
    machine: dict[str, Any]
    python: _Python
    gpu: list[dict[str, Any]]
