"""Runs a training as a Job, from its order to its outcome, as Runner does on this machine.

Both sides communicate by files in the run's folder (handover.py). The API only answers whether the Job still exists.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from detctl_agent import logs
from detctl_agent.cluster import handover
from detctl_agent.cluster.jobs_api import JobsApi
from detctl_agent.cluster.template import job_name
from detctl_agent.errors import AgentError, RunRefusedError
from detctl_agent.runs.outcome import Outcome, Progress
from detctl_agent.state.run_folder import RunFolder

LOOK_S = 0.5
ASK_S = 5.0
# A pod that has just ended may have written its outcome on another node, and shared file systems show it late.
LATE_S = 90.0
END_S = 60.0  # added to the recipe's grace, until a pod that does not end is deleted
log = logs.logger("job")


class ClusterRunner:
    """`run` blocks; other methods may be called from any thread."""

    def __init__(
        self,
        api: JobsApi,
        folder: RunFolder,
        key: str,
        *,
        job: dict[str, object],
        start_s: float,
        grace_s: float,
        on_started: Callable[[], None],
        on_spooled: Callable[[], None],
    ) -> None:
        """job: the Job to create; start_s: time until its recorder must have reported."""
        self._api, self._folder, self._key, self._job = api, folder, key, job
        self._start_s, self._grace_s = start_s, grace_s
        self._on_started, self._on_spooled = on_started, on_spooled
        self.progress = Progress()
        self._changed = threading.Event()
        self._end: tuple[str, str] | None = None
        self._end_at = 0.0

    def end(self, reason: str, message: str = "", grace_s: float | None = None) -> None:
        """Ends the run now, for `reason` (one of those in run_folder.py)."""
        if self._end is None:
            self._end, self._end_at = (reason, message), time.monotonic()
            self._wish(handover.END, {"reason": reason, "message": message, "grace_s": grace_s})
        self._changed.set()

    def stop_after(self, step: int) -> None:
        """Ends the run after `step` on all ranks."""
        self._wish(handover.STOP, {"after_step": step})

    def run(self) -> Outcome:
        """Returns when the recorder has reported the outcome, or the run is lost. Raises AgentError if no Job can be made."""
        started = time.monotonic()
        self._api.create(self._job)
        log.info(logs.line("job_created", run=self._key, job=job_name(self._key)))
        try:
            return self._watched(started)
        finally:
            self._api.delete(job_name(self._key))

    def _watched(self, started: float) -> Outcome:
        has_started, checked_at, over_at, why = False, 0.0, 0.0, ""
        while True:
            outcome = handover.read_outcome(self._folder)
            if (progress := handover.read_progress(self._folder)) is not None:
                if not has_started:
                    has_started = True
                    self._on_started()
                spooled, self.progress.spooled_bytes = self.progress.spooled_bytes, progress.spooled_bytes
                self.progress.step, self.progress.records = progress.step, progress.records
                self.progress.ranks = progress.ranks
                self.progress.activity, self.progress.last_output = progress.activity, progress.last_output
                if progress.spooled_bytes > spooled:
                    self._on_spooled()
            if outcome is not None:
                self._see(outcome.spool_bytes)
                if outcome.end == "refused":
                    raise RunRefusedError(outcome.message)
                return outcome
            now = time.monotonic()
            if not over_at and now - checked_at > ASK_S:
                checked_at = now
                state, why = self._state()
                over_at = now if state != "running" else 0.0
            if over_at and now - over_at > (LATE_S if has_started else 0.0):
                return self._lost(started, why or "its pod ended without reporting an outcome: see its log")
            if not has_started and now - started > self._start_s:
                return self._lost(
                    started, f"its pod did not start within {self._start_s:.0f} s: look at it with kubectl describe"
                )
            if self._end and now - self._end_at > (self._grace_s + END_S if has_started else 0.0):
                return self._lost(started, self._end[1])
            self._changed.wait(LOOK_S)
            self._changed.clear()

    def _state(self) -> tuple[str, str]:
        try:
            return self._api.state(job_name(self._key))
        except AgentError as error:
            log.warning(logs.line("job_unseen", run=self._key, why=str(error)))
            return "running", ""  # an unreachable API does not end a training

    def _see(self, spooled: int) -> None:
        self.progress.spooled_bytes = spooled
        self._on_spooled()

    def _lost(self, started: float, why: str) -> Outcome:
        end = self._end[0] if self._end else "lost"
        spooled = self.progress.spooled_bytes
        return Outcome(end=end, exit_code=-9, message=why, wall_s=time.monotonic() - started, spool_bytes=spooled)

    def _wish(self, name: str, content: dict[str, object]) -> None:
        try:
            self._folder.write(name, content)
        except AgentError as error:
            log.error(logs.line("wish_unwritten", run=self._key, why=str(error)))
