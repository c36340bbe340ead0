"""Computes problems and verdicts from stored runs, with storage/reading, comparison/ and attribution/. Runs in a thread."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from detctl_coordinator.attribution.case import Case, JudgeRequest
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, RunsNeededError
from detctl_coordinator.attribution.experiments.explore import explore, held_in
from detctl_coordinator.attribution.self_test import self_test
from detctl_coordinator.attribution.verdict.explained import with_experiments, with_self_test
from detctl_coordinator.attribution.verdict.report import build_verdict
from detctl_coordinator.attribution.zoom import look_closer, looked, operation, zoom_specs, zoom_target
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.lifecycle_events import Judged
from detctl_coordinator.domain.run import RunOutcome, RunRecord, RunState
from detctl_coordinator.domain.verdict import Verdict, Zoom
from detctl_coordinator.limits import clean
from detctl_coordinator.storage.reading.reader import StoredRun
from detctl_coordinator.storage.reading.verify import verify
from detctl_coordinator.storage.store import DocumentError, Store, StoreError

log = logging.getLogger(__name__)

LAST_LINE_CHARS = 300
NO_PROBE = "no probe answered from the training: it ran with python -I, has no torch, or is not a training"


def problem_of_run(store: Store, run_id: str) -> str:
    """Returns what is wrong with the data of an ended run, one line; "" if it is complete. Raises StoreError."""
    try:
        empty = not store.seals(run_id) and not store.streams(run_id)
    except DocumentError as error:
        return str(error)
    if empty:
        run = store.run(run_id)
        return no_data(run.outcome if run is not None else None)
    problems = _problems(store, run_id)
    if not problems:
        return ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return problems[0] + more


def no_data(outcome: RunOutcome | None) -> str:
    """Returns why an ended run sent no data: how the program ended and its last line, which usually names the error; else NO_PROBE."""
    if outcome is None:
        return NO_PROBE
    if outcome.end not in ("exit", "window", "stop"):
        return outcome.message or f"the run ended ({outcome.end}) before anything was recorded"
    if not outcome.exit_code:
        return NO_PROBE
    how = f"signal {-outcome.exit_code}" if outcome.exit_code < 0 else f"exit code {outcome.exit_code}"
    tail = outcome.failure.tail if outcome.failure is not None else outcome.output_tail.splitlines()
    lines = [line for line in tail if line.strip()]
    last_line = f": {clean(lines[-1], LAST_LINE_CHARS)}" if lines else ""
    return f"the program ended with {how} before a training began{last_line}"


def judge_audit(store: Store, audit: Audit) -> Judged:
    """Returns the verdict of a whole audit, or the zoom runs and experiments that it needs first. Raises StoreError.

    An internal error makes the verdict unverified, so that the audit always ends."""
    try:
        case = Case(_request(store, audit, audit.runs_for("")))
        zoomed = audit.runs_for("zoom")
        if zoomed:
            zoom: Zoom | None = look_closer(zoomed, [StoredRun(store, run.spec.run_id) for run in zoomed])
        else:
            zoom = operation(case)
            target = zoom_target(case) if audit.request.zoom else None
            if target is not None:
                return Judged(build_verdict(case).to_json(), zoom_specs(target, audit.audit_id, len(audit.runs)))
        case = case.with_closer_look(looked(case, zoom))
        verdict = build_verdict(case).model_copy(update={"zoom": zoom})
        return _explained(store, audit, case, verdict)
    except Exception as error:
        if isinstance(error, StoreError) and not isinstance(error, DocumentError):
            raise
        log.exception("audit=%s event=judge-failed", audit.audit_id)
        text = f"the comparison failed with an internal error ({type(error).__name__}); the coordinator's log has the details"
        if isinstance(error, DocumentError):
            text = str(error)
        recipe = audit.request.recipe
        verdict = Verdict(audit=audit.audit_id, recipe=recipe, outcome="unverified", unverified_because=[text])
        return Judged(verdict.to_json())


def _explained(store: Store, audit: Audit, case: Case, verdict: Verdict) -> Judged:
    """Returns the verdict with the results of experiments, or the experiments that must still run."""
    request = audit.request
    explain = request.explain and verdict.outcome == "different"
    if not explain and not request.self_test:
        return Judged(verdict.to_json())

    window = (case.request.window[0], case.limit)

    def case_of(experiments: Sequence[str]) -> Case:
        tried = tuple(StoredRun(store, run_id) for run_id in experiments)
        return Case(replace(case.request, readers=(*case.request.readers, *tried), planned=(), twins=0, window=window))

    runner = ExperimentRunner(audit.audit_id, audit.runs, case_of, request.budget_runs)
    try:
        rounds = explore(case, runner) if explain else []
        checks = self_test(case, runner, held_in(rounds)) if request.self_test else []
    except RunsNeededError as needed:
        return Judged(verdict.to_json(), needed.specs, needed.why)
    if explain:
        verdict = with_experiments(verdict, rounds)
    return Judged((with_self_test(verdict, checks) if checks else verdict).to_json())


def judge_runs(store: Store, chosen: tuple[Audit | None, Sequence[RunRecord]], strict: bool = False) -> str:
    """Returns the verdict JSON of some runs. chosen: (their audit if they all belong to one, the runs). `strict`: a difference in
    evaluation counts, also if the audit did not request that. Raises StoreError."""
    request = _request(store, *chosen)
    case = Case(replace(request, strict=request.strict or strict))
    zoom = operation(case)
    return build_verdict(case.with_closer_look(looked(case, zoom))).model_copy(update={"zoom": zoom}).to_json()


def _request(store: Store, audit: Audit | None, runs: Sequence[RunRecord]) -> JudgeRequest:
    specs = [run.spec for run in runs]
    ends = [spec.step_to for spec in specs if spec.step_to is not None]
    whole = audit is not None and len(runs) == len(audit.runs_for(""))
    request = JudgeRequest(
        audit_id=audit.audit_id if audit else "",
        recipe=", ".join(dict.fromkeys(spec.recipe for spec in specs)),
        readers=tuple(StoredRun(store, spec.run_id) for spec in specs),
        machines=tuple(dict.fromkeys(spec.arm.machine for spec in specs)),
        window=(max(spec.step_from for spec in specs), min(ends, default=None)),
        varied=len({spec.arm.variation for spec in specs}) > 1,
        damaged=frozenset(run.spec.run_id for run in runs if _is_damaged(store, run)),
        twins=audit.request.twins if audit and whole else 0,
        planned=tuple(spec.label for spec in specs) if whole else (),
        requested_by=audit.request.requested_by if audit else "",
        strict=audit.request.strict if audit else False,
    )
    return _of_stopped(request, audit) if audit is not None and whole and audit.stopped_by else request


def _of_stopped(request: JudgeRequest, audit: Audit) -> JudgeRequest:
    """Returns the request without the runs that were cancelled after one failed: a single reason stands for all of them."""
    left = {run_id for run_id, run in audit.runs.items() if run.state is RunState.CANCELLED}
    readers = tuple(reader for reader in request.readers if reader.run.spec.run_id not in left)
    return replace(
        request,
        readers=readers,
        machines=tuple(dict.fromkeys(reader.run.spec.arm.machine for reader in readers)),
        twins=0,
        planned=(),
        stopped_by=audit.stopped_by,
        not_run=len(request.readers) - len(readers),
    )


def _problems(store: Store, run_id: str) -> list[str]:
    try:
        return verify(store, run_id, blobs=True)
    except (DamagedError, DocumentError) as error:
        return [str(error)]
    except StoreError:
        raise
    except Exception as error:
        log.exception("run=%s event=verify-failed", run_id)
        return [
            f"the check of the data failed with an internal error ({type(error).__name__}); the coordinator's log has the details"
        ]


def _is_damaged(store: Store, run: RunRecord) -> bool:
    """Returns whether the run's data contradicts itself, so that it must not be compared. Data that only stops early (no seal, a killed
    rank) may be compared."""
    if run.state is not RunState.FAILED:
        return False
    if run.outcome is not None and run.outcome.end == "damaged":
        return True
    seals = store.seals(run.spec.run_id)
    ranks = {key.rank for key in store.streams(run.spec.run_id)}
    broke_off = ranks - set(seals) or any(seal.reason == "lost" for seal in seals.values())
    return bool(seals) and not broke_off and bool(_problems(store, run.spec.run_id))


def totals_of_run(store: Store, run_id: str) -> tuple[int, int]:
    """Returns (last step that every rank finished, number of records) from the run's seals; (0, 0) without a seal."""
    seals = store.seals(run_id).values()
    step = min((seal.last_step for seal in seals), default=0)
    return step, sum(stream.count for seal in seals for stream in seal.streams)
