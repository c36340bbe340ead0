"""Checks whether a run is complete: all data arrived, it ended well, and the deciding stages were recorded (docs/adr/0018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.steps.coverage import blind_stages
from detctl_coordinator.domain.fingerprint import Seal, Stage
from detctl_coordinator.domain.run import RunState

# A run that lacks one of these stages was not observed as a training.
NEEDED = (Stage.INIT, Stage.BATCH, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)
AGREED = ("window", "stop")


@dataclass(frozen=True)
class RunCompleteness:
    """`reasons`: why the run is incomplete, one line each; empty: it is complete. `damaged`: its data must not be compared."""

    reasons: tuple[str, ...] = ()
    damaged: bool = False
    has_data: bool = True

    @property
    def complete(self) -> bool:
        return not self.reasons


def check_completeness(
    reader: RunReader, label: str, window: tuple[int, int | None], problems: Sequence[str] = ()
) -> RunCompleteness:
    """Returns why a run is not complete, most basic reason first. Each reason names the run and what to do."""
    found = [f"{label}: {problem}" for problem in problems]
    try:
        ended = _ended(reader)
        _ = reader.scheme, reader.level  # these raise if segments disagree
        seals, streams = reader.seals(), reader.streams()
        damage = _damage(reader, bool(ended))
        missing = [] if not streams else _coverage(reader, window)
        has_data = any(count for count in streams.values())
    except DamagedError as error:
        text = f"{label}: stored data is damaged ({error}); run it again"
        return RunCompleteness((*found, text), damaged=True, has_data=False)
    found += [f"{label}: {reason}" for reason in ended]
    if not seals and not streams:
        if not found:
            found.append(
                f"{label}: the training loaded no probe (python -I, no torch, or not a training); see its output"
            )
    else:
        found += [f"{label}: {reason}" for reason in damage]
        if not found:  # a run that ended early lacks stages for that reason, which is already listed
            found += [f"{label}: {reason}" for reason in missing]
    return RunCompleteness(tuple(dict.fromkeys(found)), bool(damage) and _is_damage(reader), has_data)


def _ended(reader: RunReader) -> list[str]:
    run = reader.run
    outcome = run.outcome
    message = run.message or (outcome.message if outcome else "")
    tail = f": {message}" if message else ""
    broke_off = outcome is not None and outcome.end not in (*AGREED, "exit")
    if run.state is RunState.FAILED and outcome is not None and outcome.failure is not None and not broke_off:
        return [f"{run.state.value}; see `detctl show {run.spec.run_id}`"]  # the verdict's failures have the reason
    if run.state in (RunState.FAILED, RunState.CANCELLED) and not broke_off:
        return [f"{run.state.value}{tail}; see `detctl show {run.spec.run_id}`"]
    if not run.state.over:
        return [f"has not finished yet ({run.state.value}); wait for it or run the audit again"]
    if outcome is None:
        return [] if reader.seals() else [f"ended without reporting how{tail}; run it again"]
    if outcome.end in AGREED:
        return []
    show = f"see `detctl show {run.spec.run_id}`"
    if outcome.end != "exit":
        description = {
            "timeout": "reached its time limit; raise timeout_s of the recipe or shorten --steps",
            "lost": "was lost by its agent; run the audit again",
            "cancelled": "was cancelled",
            "output-limit": "wrote more output than allowed",
            "disk-full": "ended because the disk was full; free space and run the audit again",
            "refused": "was refused",
        }.get(outcome.end, f"ended by {outcome.end}")
        why = f": {outcome.message}" if outcome.message else ""
        return [f"{description}{why}; {show}"]
    seals = reader.seals()
    if outcome.exit_code and not (seals and all(seal.reason in AGREED for seal in seals.values())):
        how = f"signal {-outcome.exit_code}" if outcome.exit_code < 0 else f"exit code {outcome.exit_code}"
        steps = min((seal.steps_finished for seal in seals.values()), default=0)
        return [f"the training failed with {how} after {steps} finished steps{tail}; {show}"]
    return []


def _damage(reader: RunReader, broke_off: bool) -> list[str]:
    """Returns contradictions between seals and index, and seals that are missing."""
    seals, streams = reader.seals(), reader.streams()
    found = []
    ranks = {key.rank for key in streams}
    for rank in sorted(ranks - set(seals)):
        found.append(f"rank {rank} sent no seal, so the end of its data is unknown; run it again")
    outcome = reader.run.outcome
    if outcome is not None and outcome.ranks > len(seals) and not found:
        found.append(f"{outcome.ranks} ranks took part, but only {len(seals)} sent a seal; run it again")
    for rank, seal in sorted(seals.items()):
        if seal.reason == "lost":
            if broke_off:
                continue  # already listed, with the reason
            found.append(
                f"the probe of rank {rank} went silent after step {seal.last_step} and sent no seal; see its output"
            )
        elif not seal.complete:
            found.append(f"the data that arrived from rank {rank} does not match what its probe sent; run it again")
        mismatch = _mismatch(reader, seal)
        if mismatch:
            found.append(f"{mismatch}; run it again")
    return found


def _is_damage(reader: RunReader) -> bool:
    """Returns whether data is wrong or lost in the middle. A run that only ended early is known up to its last step."""
    seals = reader.seals().values()
    return any((not seal.complete and seal.reason != "lost") or _mismatch(reader, seal) != "" for seal in seals)


def _mismatch(reader: RunReader, seal: Seal) -> str:
    streams = {key: count for key, count in reader.streams().items() if key.rank == seal.rank and count}
    sealed = {stream.key: stream for stream in seal.streams if stream.steps}
    for key in sorted(streams.keys() | sealed.keys()):
        word = f"{key.stage.word} of rank {key.rank}"
        if key not in sealed:
            return f"{word} is stored but was never sealed"
        entries = streams.get(key, 0)
        if entries != sealed[key].steps:
            return f"{entries} of {sealed[key].steps} steps of {word} are stored"
        if reader.entry(key, entries - 1).chain != sealed[key].chain:
            return f"the chain of {word} does not match its seal"
    return ""


def _coverage(reader: RunReader, window: tuple[int, int | None]) -> list[str]:
    """Returns which steps and stages are missing that an identical verdict has to cover."""
    found = []
    start, end = window
    blind = blind_stages(reader)
    for rank in sorted({key.rank for key in reader.streams()}):
        seal = reader.seals().get(rank)
        where = f" in rank {rank}" if len(reader.seals()) > 1 else ""
        if seal is not None and seal.steps_finished == 0:
            found.append(f"no training step finished{where}: neither an optimizer step nor a backward pass was seen")
            continue
        if seal is not None and seal.reason == "window" and end is not None and seal.steps_finished < end - start:
            found.append(
                f"only {seal.steps_finished} of {end - start} steps of the window were recorded{where}; run it again"
            )
        for stage in NEEDED:
            if any(count and key.rank == rank and key.stage is stage for key, count in reader.streams().items()):
                continue
            why = f" ({blind[stage]})" if stage in blind else ""
            found.append(f"stage {stage.word} was not recorded{where}{why}{HINTS.get(stage, '')}")
    return found


HINTS = {
    Stage.BATCH: "; feed the model from a torch DataLoader, so that the data is compared as well",
    Stage.LOSS: "; detctl records the tensor on which backward() is called",
    Stage.UPDATE: "; detctl records parameters when an optimizer steps",
}
