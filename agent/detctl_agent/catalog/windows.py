"""Windows of steps and shares of time as users write them."""

from __future__ import annotations

import re

from detctl_agent.errors import AgentError


def parse_steps(text: str) -> tuple[int, int | None]:
    """(first step, step behind the last) of `A:B`; `A:` is to the end (None). Raises AgentError."""
    found = re.fullmatch(r"([0-9]{0,9}):([0-9]{0,9})", text)
    if found is None or text == ":":
        raise AgentError(f"--steps {text}: write A:B, two numbers of steps, B exclusive (0:32)")
    start, end = int(found[1] or 0), int(found[2]) if found[2] else None
    if end is not None and end <= start:
        raise AgentError(f"--steps {text}: holds no step; B is exclusive and must be greater than A")
    return start, end


def parse_share(text: str) -> float:
    """0.02 of `2%` or `0.02`. Raises AgentError."""
    try:
        share = float(text.rstrip("% ")) / 100 if text.rstrip().endswith("%") else float(text)
    except ValueError:
        share = 0.0
    if not 0.0 < share < 1.0:
        raise AgentError(f"--budget {text}: no share of step time; write 2% or 0.02")
    return share
