"""Aligns two runs of which one continues the other, so that both show the same steps from the continued one on."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.continuation import Continuation
from detctl_coordinator.comparison.steps.shifted import BY_LOADER, ShiftedRun, batches_of
from detctl_coordinator.comparison.updates.before_step import optimizer_of, state_of
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage, StreamKey

FIRST_STEPS = 16  # steps in which further optimizers may make their first step
LOOK_BACK = 32


def align_continuation(left: RunReader, right: RunReader, found: Continuation) -> tuple[ShiftedRun, ShiftedRun]:
    """Returns both runs as they train from the continued step on.

    In the middle of an epoch they do not take the same batches in that step: one may have taken its batch a step ahead, and the other
    take and throw away those that the first had trained on. The last batches of the step are the ones that both train on."""
    if found.continuing == "right":
        runs = ShiftedRun(left, found.step, 0), ShiftedRun(right, 0, found.step)
    else:
        runs = ShiftedRun(left, 0, found.step), ShiftedRun(right, found.step, 0)
    keys = [k for k in runs[0].reader.streams() if k.stage in BY_LOADER and k in runs[1].reader.streams()]
    counts = {key: min(len(batches_of(run.reader.records(key, run.first))) for run in runs) for key in keys}
    for key in runs[0].reader.streams():
        # Random states that agree after the first step were restored within it.
        if key.stage is Stage.RNG and key in runs[1].reader.streams() and _agree(runs, key, found.step + 1):
            counts[key] = 0
    for run in runs:
        run.shared = counts
    whole, resumed = runs if found.continuing == "right" else runs[::-1]
    _show_expected_state(whole, resumed)
    return runs


def _show_expected_state(whole: ShiftedRun, resumed: ShiftedRun) -> None:
    """Lets both runs show the state of each optimizer before its first step. A process records it before that step alone, so that of the
    whole run is what the last update of the same optimizer left."""
    ours: dict[StreamKey, dict[int, list[Fingerprint]]] = {}
    theirs: dict[StreamKey, dict[int, list[Fingerprint]]] = {}
    for key in whole.streams():
        if key.stage is not Stage.UPDATE or key.phase is not Phase.TRAIN or key not in resumed.streams():
            continue
        seen: set[str] = set()  # none at all: recorded by an earlier version, or at level step
        for step in range(resumed.start, resumed.start + FIRST_STEPS):
            first = resumed.records(key, step)
            new = {optimizer_of(record.site) for record in first} - {""} - seen
            if not new:
                continue
            seen |= new
            own = [record for record in whole.records(key, step) if state_of(record.site) is None]
            expected = _expected_state(whole, key, step, first, new)
            ours.setdefault(key, {})[step] = [*expected, *own]
            theirs.setdefault(key, {})[step] = first
    whole.replaced, resumed.replaced = ours, theirs


def _expected_state(
    whole: ShiftedRun, key: StreamKey, step: int, first: list[Fingerprint], optimizers: set[str]
) -> list[Fingerprint]:
    owners = {found[0]: optimizer_of(r.site) for r in first if (found := state_of(r.site)) is not None}
    expected = []
    for optimizer in sorted(optimizers):
        before = _last_update(whole, key, step - whole.offset - 1, optimizer)
        sites = {record.site for record in before}
        stepped = {optimizer_of(site) for site in sites} - {""}
        for record in before:
            parameter = record.site.rpartition(".")[0]
            name = owners.get(parameter) or (optimizer if len(stepped or optimizers) == 1 else "")
            if parameter in sites and name == optimizer:
                expected.append(replace(record, site=f"{name}/state/{record.site}", step=step, occurrence=0))
    return expected


def _last_update(whole: ShiftedRun, key: StreamKey, last: int, optimizer: str) -> list[Fingerprint]:
    """Returns the last update of an optimizer up to a step of the run itself; several optimizers may step in turn."""
    for step in range(last, max(last - LOOK_BACK, -1), -1):
        records = whole.reader.records(key, step)
        stepped = {optimizer_of(record.site) for record in records} - {""}
        if optimizer in stepped or (records and not stepped):
            return records
    return []


def _agree(runs: tuple[ShiftedRun, ShiftedRun], key: StreamKey, step: int) -> bool:
    ours, theirs = (
        # Not what the run shows: that depends on the answer.
        [(r.site, r.occurrence, r.digest) for r in run.reader.records(key, step - run.offset)]
        for run in runs
    )
    return bool(ours) and ours == theirs
