"""Writes and checks a sign of life in the state folder. An exec probe reads it, since the agent has no port (docs/security.md 5)."""

from __future__ import annotations

import json
import time
from pathlib import Path

from detctl_proto.files.regular_file import read_regular

from detctl_agent.errors import AgentError

FILE = "alive.json"
EVERY_S = 2.0
OLD_S = 15.0


def write_sign(state: Path, *, connected: bool) -> None:
    """Raises OSError."""
    aside = state / f".{FILE}"
    aside.write_text(json.dumps({"unix_s": time.time(), "connected": connected}))
    aside.replace(state / FILE)


def check_sign(state: Path, *, connected: bool) -> None:
    """Raises AgentError if no agent works in this folder; with `connected`, also if its coordinator does not answer it."""
    try:
        sign = json.loads(read_regular(state / FILE, 4096))
        age_s = time.time() - float(sign["unix_s"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise AgentError(f"no agent has begun to work in {state}") from None
    if age_s > OLD_S:
        raise AgentError(f"the agent of {state} gave its last sign of life {age_s:.0f} s ago")
    if connected and not sign.get("connected"):
        raise AgentError(f"the agent of {state} is not connected to its coordinator: see its log")
