"""What the launcher tells the probe, in one JSON variable, DETCTL_PROBE.

{"socket": "/run/user/0/detctl/1a2b3c4d",    where to send frames; no key: the probe does nothing
 "level": "module",                          step, module or op
 "window": [0, 32],                          half open; end null: to the end
 "paths": {"data": "/data/digits", "cwd": "/tmp/…/work"},   logical names of places, longest match wins
 "interventions": {"listing": "sorted", "workers": "0"},
 "given": "/…/given",                         with intervention transplant: the folder that holds what is transplanted
 "budget": 0.02,                             share of step time that the probe may take; no key: as much as it needs
 "argv_paths": true,                         existing folders among the arguments got names by position (record, audit --)
 "main_pid": 4711}                           written by the first process of the run itself: those below it are children
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Dict, Optional

VARIABLE = "DETCTL_PROBE"


@dataclass(frozen=True)
class Settings:
    """Settings of one training process; see the module's text for the keys."""

    socket: str
    level: str = "module"
    window_start: int = 0
    window_end: Optional[int] = None
    paths: Dict[str, str] = field(default_factory=dict)
    interventions: Dict[str, str] = field(default_factory=dict)
    budget: Optional[float] = None
    given: str = ""

    @property
    def bare(self) -> Optional[int]:
        """The step after which a run without instruments shows its weights; None: an ordinary run (intervene/bare.py)."""
        value = self.interventions.get("bare", "")
        return int(value) if value.isdigit() else None

    @classmethod
    def from_environment(cls) -> "Optional[Settings]":
        """Settings of this process, or None where no launcher set any. Raises ValueError on a malformed value."""
        text = os.environ.get(VARIABLE)
        if not text:
            return None
        raw = json.loads(text)
        if "socket" not in raw:
            return None
        start, end = raw.get("window") or [0, None]
        return cls(
            socket=raw["socket"],
            level=raw.get("level", "module"),
            window_start=int(start),
            window_end=None if end is None else int(end),
            paths=dict(raw.get("paths", {})),
            interventions=dict(raw.get("interventions", {})),
            given=str(raw.get("given") or ""),
            budget=float(raw["budget"]) if raw.get("budget") else None,
        )
