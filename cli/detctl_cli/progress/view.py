"""Turns the messages of WatchAudit into what a person sees of them, and into lines for a pipe. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from detctl_proto.heartbeat import clock
from detctl_proto.v1 import agents_pb2, audits_pb2

from detctl_cli.output.clean import clean
from detctl_cli.output.side_by_side import least, why_side_by_side
from detctl_cli.reporters.run_names import short_names

FEW_RUNS = 8  # a pipe gets lines about each run up to this number; more are summarised
NAMED_RUNS = 2  # in a heartbeat
OVER = ("sealed", "failed", "cancelled")
DONE = {"sealed": "done", "failed": "failed", "cancelled": "cancelled"}

_DOING = {
    agents_pb2.RUN_ACTIVITY_QUEUED: "waiting for a free slot",
    agents_pb2.RUN_ACTIVITY_PREPARING: "preparing the run",
    agents_pb2.RUN_ACTIVITY_STARTING: "starting Python",
    agents_pb2.RUN_ACTIVITY_IMPORTING: "importing torch",
    agents_pb2.RUN_ACTIVITY_BUILDING: "waiting for the first step",
    agents_pb2.RUN_ACTIVITY_ENDING: "ending",
    agents_pb2.RUN_ACTIVITY_SENDING: "sending the last data",
}
_REPORTED = (agents_pb2.RUN_ACTIVITY_STARTING, agents_pb2.RUN_ACTIVITY_IMPORTING)  # of a run that has no step yet
_WAITING = {"waiting": "waiting", "assigned": "waiting for the agent"}


@dataclass(frozen=True)
class RunView:
    """One run. done, total: finished steps, and how many there will be (0: unknown). remaining_s: None if it cannot be estimated."""

    run_id: str
    label: str
    name: str
    state: str
    doing: str
    done: int = 0
    total: int = 0
    elapsed_s: int = 0
    remaining_s: float | None = None
    output: str = ""
    activity: int = 0

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def active(self) -> bool:
        return self.state == "running"


@dataclass(frozen=True)
class AuditView:
    """An audit. doing: what happens to the audit as a whole; empty while its twins run."""

    audit_id: str
    runs: tuple[RunView, ...] = ()
    machines: int = 0
    doing: str = ""
    fingerprints_per_s: float = 0.0
    together: str = ""  # that runs train side by side, and why they may

    @property
    def ended(self) -> int:
        return sum(run.over for run in self.runs)

    @property
    def counted(self) -> str:
        """`2 of 6 runs done`, with the number of failed ones."""
        failed = sum(run.state == "failed" for run in self.runs)
        text = f"{self.ended} of {_runs(len(self.runs))} done"
        return f"{text}, {failed} failed" if failed else text


@dataclass
class Paces:
    """Remembers when runs had finished how many steps, and estimates the remaining time."""

    _first: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)

    def remaining_s(self, run_id: str, attempt: int, done: int, total: int, now: float) -> float | None:
        """Returns the estimate for a run that is at step `done` now."""
        if not done:
            return None
        since, before = self._first.setdefault((run_id, attempt), (now, done))
        if not total or done <= before or now <= since:
            return None
        return max(0.0, (total - done) * (now - since) / (done - before))


def view_of(progress: audits_pb2.AuditProgress, paces: Paces, now: float) -> AuditView:
    """Returns the view of a message. now: a monotonic time, at which the message arrived."""
    names = short_names([clean(run.label) for run in progress.runs])
    return AuditView(
        audit_id=clean(progress.audit_id),
        runs=tuple(_run_view(run, names, paces, now) for run in progress.runs),
        machines=len({run.machine for run in progress.runs}),
        doing=_audit_doing(progress),
        fingerprints_per_s=progress.fingerprints_per_s,
        together=_together(progress),
    )


def news(before: AuditView | None, now: AuditView) -> list[str]:
    """Returns a line for each thing that has changed since the view `before`, which is None at first."""
    lines = []
    if before is None:
        where = f"{now.machines} machine{'' if now.machines == 1 else 's'}"
        lines.append(f"audit {now.audit_id} has {_runs(len(now.runs))} on {where}")
    known: Mapping[str, RunView] = {run.run_id: run for run in before.runs} if before else {}
    few = len(now.runs) <= FEW_RUNS
    for run in sorted(now.runs, key=lambda run: run.state == "cancelled"):  # because another one failed
        lines += _run_news(known.get(run.run_id), run, few)
    if not few and before is not None and _tenths(now) > _tenths(before):
        lines.append(now.counted)
    if now.doing and (before is None or before.doing != now.doing):
        lines.append(now.doing)
    return lines


def heartbeat(view: AuditView) -> str:
    """Returns what happens now, in one line: `gpu1/default/base/twin-0 at step 12 of 32; 2 of 6 runs done`."""
    active = [run for run in view.runs if run.active]
    parts = []
    if view.doing:
        parts.append(view.doing)
    for run in active[:NAMED_RUNS]:
        parts.append(f"{run.label} {'at ' if run.done and run.doing.startswith('step') else 'is '}{run.doing}")
    if len(active) > NAMED_RUNS:
        parts.append(f"{len(active) - NAMED_RUNS} more are running")
    if not active and not view.doing and view.ended < len(view.runs):
        parts.append(f"{_runs(len(view.runs) - view.ended)} waiting")
    return "; ".join([*parts, view.counted])


def shown_runs(view: AuditView, rows_max: int) -> tuple[Sequence[RunView], str]:
    """Returns the runs that fit in so many rows, active ones first if there are too many, and a summary of the others."""
    if len(view.runs) <= rows_max:
        return view.runs, ""
    rank = {"running": 0, "failed": 1, "assigned": 2, "waiting": 3}
    ordered = sorted(view.runs, key=lambda run: rank.get(run.state, 4))
    shown, rest = ordered[: max(0, rows_max - 1)], ordered[max(0, rows_max - 1) :]
    counts = Counter(DONE.get(run.state, "running" if run.active else "waiting") for run in rest)
    return shown, f"and {len(rest)} more: " + ", ".join(f"{number} {word}" for word, number in counts.items())


def _run_view(run: audits_pb2.RunStatus, names: Mapping[str, str], paces: Paces, now: float) -> RunView:
    over = run.state in OVER
    done = run.steps_done or (run.step + 1 if run.step else 0)  # an older coordinator sends only the step
    total = run.step_to
    label = clean(run.label)
    message = clean(run.message)
    if over:
        doing = f"failed: {message or 'no reason given'}" if run.state == "failed" else DONE[run.state]
    elif run.state in _WAITING:
        doing = message or _WAITING[run.state]
    elif done and run.activity in (agents_pb2.RUN_ACTIVITY_TRAINING, agents_pb2.RUN_ACTIVITY_UNSPECIFIED):
        doing = f"step {done} of {total}" if total else f"step {done}"
    else:
        doing = _DOING.get(run.activity, message or "running")
    return RunView(
        run_id=run.run_id,
        label=label,
        name=names[label],
        state=run.state,
        doing=doing,
        done=done,
        total=total,
        elapsed_s=run.elapsed_s,
        remaining_s=None if over else paces.remaining_s(run.run_id, run.attempt, done, total, now),
        output="" if over else clean(run.last_output),
        activity=run.activity,
    )


def _together(progress: audits_pb2.AuditProgress) -> str:
    measured = [run.side_by_side for run in progress.runs if run.beside and run.HasField("side_by_side")]
    return why_side_by_side(least(measured)) if any(one.runs > 1 for one in measured) else ""


def _audit_doing(progress: audits_pb2.AuditProgress) -> str:
    if progress.state == "comparing":
        return "all runs have ended; comparing them"
    active = {run.purpose for run in progress.runs if run.state not in OVER}
    if audits_pb2.RUN_PURPOSE_EXPERIMENT in active:
        number = min(progress.experiments_done + 1, progress.experiments_known)
        question = f": {clean(progress.trying)}" if progress.trying else ""
        return f"experiment {number} of {progress.experiments_known}{question}"
    if audits_pb2.RUN_PURPOSE_ZOOM in active:
        number = sum(run.purpose == audits_pb2.RUN_PURPOSE_ZOOM for run in progress.runs)
        return f"rerunning the first divergent step at level op ({_runs(number)})"
    return ""


def _run_news(before: RunView | None, run: RunView, few: bool) -> list[str]:
    if run.state == "failed":
        same = before is not None and (before.state, before.doing) == (run.state, run.doing)
        return [] if same else [f"{run.label} {run.doing}"]
    if not few or (before is not None and (before.state, before.activity) == (run.state, run.activity)):
        return []
    if run.over:
        steps = f" after {run.done} step{'s' * (run.done > 1)}" if run.done else ""
        took = f", {clock(before.elapsed_s)}" if before is not None and before.elapsed_s else ""
        return [] if before is None or before.over else [f"{run.label} is {run.doing}{steps}{took}"]
    if run.activity == agents_pb2.RUN_ACTIVITY_TRAINING:
        return [f"{run.label} is training: {run.doing}"]
    return [f"{run.label} is {run.doing}"] if run.active and run.activity in _REPORTED else []


def _tenths(view: AuditView) -> int:
    return view.ended * 10 // max(1, len(view.runs))


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
