"""The recorder: one a process. Observers tell it what they saw; it numbers, chains and sends.

Observers call `record` and `note`; the optimizer observer moves `step`; nobody else keeps time. It must be cheap, never
raise into the training, never draw a random number, and be re-entrant safe (a digest may call torch functions that observers watch:
observers check `busy`).
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

from detctl_probe.prints import Print
from detctl_probe.settings import Settings


class Recorder:
    """See the module's text. Attributes are read by observers and written only by the methods here."""

    settings: Settings
    step: int  # the step now under way; what happens before the first is step 0
    micro: int  # finished backward passes (closures of one optimizer step count up too) inside the step
    phase: str  # "train" or "eval"; model observers set it by set_phase
    recording: bool  # inside the window, not sealed: observers return at once when it is False
    busy: bool  # inside a digest: observers return at once when it is True

    def record(
        self,
        stage: str,
        site: str,
        value: Print,
        *,
        occurrence: Optional[int] = None,  # None: counted by (stage, phase, step, site)
        phase: Optional[str] = None,
        evidence: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Records one fingerprint at the current step."""

    def note(self, kind: str, text: str, **fields: Any) -> None:
        """Evidence that hangs on no record; equal notes are sent once, with a limit by kind."""

    def set_phase(self, phase: str) -> None: ...

    def end_micro(self) -> None:
        """A backward pass or a closure ended."""

    def end_step(self, *, skipped: bool = False) -> None:
        """A step ended: flushes, moves on, then runs the callbacks of at_step_start; seals where the window is over."""

    def at_step_start(self, callback: Any) -> None:
        """callback() runs at the start of each step, first before anything of step 0 (see begin)."""

    def begin(self) -> None:
        """The first thing of step 0 is about to happen (a loader's iter, a first forward): runs at_step_start callbacks once."""

    def observer(self, name: str, stage: str) -> "Observer":
        """Registers an observer for the seal; the caller marks it installed, fired or failed."""
        raise NotImplementedError

    def unobserved(self, stage: str, what: str, why: str) -> None:
        """Coverage: a part of a stage that nobody watches."""

    def intervention(self, name: str, value: str, acted: bool, detail: str) -> None:
        """Reads back an intervention; the last call a name stands."""

    def logical(self, path: str) -> str:
        """`{data}/train` for a path under a declared place, else the path; see settings.paths."""
        raise NotImplementedError

    def caller(self) -> Mapping[str, Any]:
        """{"file": "{cwd}/train.py", "line": 31, "function": "..."} of the nearest frame that belongs to the user's code."""
        raise NotImplementedError

    def seal(self, reason: str) -> None:
        """Sends the last frame; later records are dropped."""


class Observer:
    """One row of the seal's `observers`."""

    name: str
    stage: str
    installed: bool
    fired: int
    failed: Optional[str]


def recorder() -> Optional[Recorder]:
    """The recorder of this process, or None where no launcher asked for one."""
    return None
