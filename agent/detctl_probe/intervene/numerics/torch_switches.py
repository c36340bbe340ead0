"""Holds switches of torch: sets them when torch is imported, undoes the program's changes, and reads them back at each step's start.

The interventions deterministic, threads, precision and attention use it.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, Mapping, NamedTuple, Sequence

from detctl_probe.recording.recorder import Recorder


class Switches(NamedTuple):
    """Values by names for people. `write` sets all to `target`, `read` returns the current values."""

    write: Callable[[Any], None]
    read: Callable[[Any], Mapping[str, Any]]
    target: Mapping[str, Any]


def hold(
    recorder: Recorder, name: str, value: str, switches: Switches, more: Callable[[], Sequence[str]] = tuple
) -> None:
    """Sets the switches now and before each step. The read-back reports what they were, and whether the program changed them.

    more: further lines of the read-back."""
    torch = sys.modules["torch"]
    before = dict(switches.read(torch))
    undone: Dict[str, int] = {}

    def look(first: bool = False) -> None:
        with recorder.working():  # observers must not record calls that the probe makes
            set_and_report(first)

    def set_and_report(first: bool) -> None:
        if not first:
            for key, now in switches.read(torch).items():
                if now != switches.target[key]:
                    undone[key] = undone.get(key, 0) + 1
        switches.write(torch)
        now = switches.read(torch)
        missed = ["%s is %s" % (key, now[key]) for key in switches.target if now[key] != switches.target[key]]
        changed = ["%s: %s → %s" % (key, before[key], now[key]) for key in switches.target if before[key] != now[key]]
        lines = missed or changed or ["nothing to change"]
        lines += ["the program set %s %d times in between" % (key, count) for key, count in sorted(undone.items())]
        lines += more()
        recorder.intervention(name, value, not missed, "; ".join(lines))

    look(first=True)
    recorder.at_step_start(look)
