"""The settings that a launcher gives to the probe: one JSON object in the environment variable DETCTL_PROBE.

{"socket": "/run/user/0/detctl/1a2b3c4d",    where the probe sends its frames; without this key the probe does nothing
 "level": "module",                          step, module or op
 "window": [0, 32],                          first step, and the step before which it ends; null: to the end
 "paths": {"data": "/data/digits", "cwd": "/tmp/…/work"},   folders by name; of several that match, the longest counts
 "interventions": {"listing": "sorted", "workers": "0"},
 "given": "/…/given",                         for the intervention transplant: the folder with the values to put in
 "budget": 0.02,                             share of step time that the probe may take; without it, as much as it needs
 "main_pid": 4711}                           added by the first process of the run: processes below it are its children
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Dict, Optional

VARIABLE = "DETCTL_PROBE"


@dataclass(frozen=True)
class Settings:
    """Settings of one training. The module's text lists the keys of their form in the environment."""

    socket: str
    level: str = "module"
    window_start: int = 0
    window_end: Optional[int] = None
    paths: Dict[str, str] = field(default_factory=dict)
    interventions: Dict[str, str] = field(default_factory=dict)
    budget: Optional[float] = None
    given: str = ""
    main_pid: Optional[int] = None

    @property
    def uninstrumented_until(self) -> Optional[int]:
        """The step after which an uninstrumented run sends its weights; None for an ordinary run (intervene/bare.py)."""
        value = self.interventions.get("bare", "")
        return int(value) if value.isdigit() else None

    def to_environment(self) -> Dict[str, str]:
        """The variable that carries these settings to a training: {"DETCTL_PROBE": "<JSON>"}."""
        content: Dict[str, Any] = {
            "socket": self.socket,
            "level": self.level,
            "window": [self.window_start, self.window_end],
            "paths": self.paths,
            "interventions": self.interventions,
            "budget": self.budget,
            "given": self.given,
            "main_pid": self.main_pid,
        }
        return {VARIABLE: json.dumps({key: value for key, value in content.items() if value not in (None, "")})}

    @classmethod
    def from_environment(cls) -> "Optional[Settings]":
        """Settings of this process, or None if no launcher set any. Raises ValueError on a malformed value."""
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
            main_pid=raw.get("main_pid"),
        )
