"""concurrency, stateful-data: causes of another order or content that depend on no seed and no file system."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.hash_seed import hash_seed_is_fixed
from detctl_coordinator.attribution.evidence.interleaving import (
    CHANGED_BY_STEPS,
    interleaving_of,
    racing_draws,
    steps_of,
)
from detctl_coordinator.attribution.evidence.pair_evidence import DATA, Evidence
from detctl_coordinator.attribution.evidence.reordering import only_labels_differ, other_rows, reordering_of
from detctl_coordinator.attribution.evidence.system_entropy import entropy_reads
from detctl_coordinator.domain.fingerprint import Stage

SEEN_AS_ORDER = (Stage.FILES, Stage.SAMPLE, Stage.BATCH)
STAGES = (Stage.FILES, *DATA, Stage.INIT, Stage.FORWARD)


def concurrency(evidence: Evidence) -> list[CauseFinding]:
    """Matches if twins see other data or weights while random states agree, and threads were seen to race: the program takes results
    as they finish, several threads step the model, or several threads change or draw from what they share.
    Without such a note, it matches the same samples in another order if they moved only a little or if the hash seed is fixed."""
    noted, threads = evidence.notes("unordered"), interleaving_of(evidence)
    stages = (*STAGES, *CHANGED_BY_STEPS) if threads.stepped else STAGES if noted or threads.found else SEEN_AS_ORDER
    if not evidence.between_twins or evidence.stage not in stages:
        return []
    drawn = evidence.differs(Stage.RNG) and not (threads.stepped and evidence.root.step > 0)
    if drawn or evidence.notes("unseeded-rng"):
        return []
    change = reordering_of(evidence)
    inside = evidence.root.kind == "permutation" and hash_seed_is_fixed(evidence)
    overtaken = change is not None and change.nearby
    if not inside and not overtaken and (not (noted or threads.found) or entropy_reads(evidence)):
        return []
    draws = any(note.raw.get("generator") for note in threads.shared)
    if not (threads.stepped or draws) and other_rows(evidence) and not only_labels_differ(evidence):
        return []  # another order does not make other samples
    lines = [
        *[n.description for n in (*threads.stepped, *noted, *threads.shared)],
        "The tasks of the threads ended in another order in the other run." if threads.overtaken else "",
        describe(evidence),
        change.description if change is not None else "",
        f"They moved by {change.distance} positions (median), as results do that overtake each other."
        if change is not None and overtaken
        else "",
        "Twins differ while all recorded random states agree: threads or processes race for the order.",
    ]
    notes = [*threads.stepped, *noted, *threads.shared]
    fix, at = _ordered(notes)
    return [finding(evidence, "concurrency", lines, fix, clues=[n.clue for n in notes], fix_at=at)]


def raced_processes(evidence: Evidence) -> list[CauseFinding]:
    """Matches twins in which several processes update weights that they share. Ranks are numbered as the processes come, so that any value
    of a rank may differ."""
    notes = [note for note in steps_of(evidence) if note.raw.get("shared_memory")]
    if not evidence.between_twins or not notes:
        return []
    lines = [*(n.description for n in notes), describe(evidence)]
    fix, at = _ordered(notes)
    return [finding(evidence, "concurrency", lines, fix, clues=[n.clue for n in notes], fix_at=at)]


def raced_draws(evidence: Evidence) -> list[CauseFinding]:
    """Matches if the state of a global generator differs that somebody has seeded, and a thread of the user draws from it beside others."""
    notes = racing_draws(evidence)
    if not notes:
        return []
    names = ", ".join(str(note.raw["generator"]) for note in notes)
    lines = [
        *(n.description for n in notes),
        describe(evidence),
        f"{names} is seeded, so the order in which threads draw from it decides who gets which numbers.",
    ]
    fix, at = _ordered(notes)
    return [finding(evidence, "concurrency", lines, fix, clues=[n.clue for n in notes], fix_at=at)]


def _ordered(notes: Sequence[Note]) -> tuple[str, str]:
    """Returns how to remove a race, and where. `notes`: strongest first."""
    first = next((note for note in notes if note.where), next((note for note in notes if note.raw.get("at")), None))
    if first is None:
        steps = any(note.kind == "thread-step" for note in notes)
        return (
            "Let one thread make all steps." if steps else "Take results in the order in which they were submitted.",
            "",
        )
    where = first.where or str(first.raw["at"])
    if first.raw.get("shared_memory"):
        return (
            f"Let one process make all steps: the processes that run {where} race for the weights that they share.",
            where,
        )
    if first.kind == "thread-step" and first.raw.get("stage") == "backward":
        return (
            f"Let each thread that {where} starts return its gradients (torch.autograd.grad), and add them up in a fixed order.",
            where,
        )
    if first.kind == "thread-step" or first.raw.get("steps"):
        return (
            f"Let one thread make all steps of the optimizer: the threads that {where} starts race for the weights.",
            where,
        )
    if first.kind == "threads":
        shared, at, generator = (str(first.raw.get(key) or "") for key in ("shared", "at", "generator"))
        if generator and first.raw.get("several") is False:
            return f"Give the thread a generator of its own instead of {shared} at {at}.", at
        if generator:
            return f"Give each task a generator of its own, seeded with its number, instead of {shared} at {at}.", at
        return (
            f"Let each task return its result, and use the results in the order of submission, instead of {shared} at {at}.",
            at,
        )
    line = str(first.raw.get("line_text") or "")
    fixed = str(first.raw.get("line_fixed") or "")
    quoted = f" Replace `{line}` by `{fixed}`." if line and fixed else ""
    return f"Take results in the order in which they were submitted ({where}).{quoted}", where


def stateful_data(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a note reports a dataset that keeps state between samples, and no generator is unseeded."""
    notes = evidence.notes("stateful-data")
    if not notes or evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or evidence.notes("unseeded-rng"):
        return []
    lines = [*[n.description for n in notes], describe(evidence)]
    fix = "Make __getitem__ depend only on its index."
    return [finding(evidence, "stateful-data", lines, fix, clues=[n.clue for n in notes])]
