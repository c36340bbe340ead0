"""unknown: no signature matches. The evidence lists what is excluded and what is left."""

from __future__ import annotations

from detctl_proto.verdict_words import OriginWord

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.hash_seed import integers_may_be_hashes
from detctl_coordinator.attribution.evidence.interleaving import interleaving_of
from detctl_coordinator.attribution.evidence.outside import (
    ALWAYS_DIFFERS,
    OutsideRead,
    commands_that_differ,
    programs_of,
    reads_that_differ,
    reordered_inserts,
    times_that_differ,
    unfilled_memory,
    unordered_queries,
    uses_of_output,
)
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.evidence.selection import selection_lines
from detctl_coordinator.attribution.evidence.system_entropy import drawn_numbers
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage

SUSPECTS_SHOWN = 8
SHOWN = 5  # candidates


def unknown(evidence: Evidence) -> list[CauseFinding]:
    """Always matches. The origin is code if twins differ, environment if configurations of one machine differ, else unknown."""
    ended = evidence.early_exit
    lines = [ended, describe(evidence), *evidence.size_lines, *evidence.optimizer_settings, *selection_lines(evidence)]
    suspected, clues = candidates(evidence)
    if evidence.where:
        lines.append(f"The first value that differs comes from {evidence.where}.")
    lines += suspected
    equal = [s.word for s in Stage if s < evidence.stage and evidence.observed_equal(s)]
    if equal:
        lines.append(f"These stages are equal up to here and therefore excluded: {', '.join(equal)}.")
    if evidence.stage in (Stage.SAMPLE, Stage.BATCH) and (files := evidence.read.summary):
        lines.append(files)
    origin: OriginWord | None = None
    if evidence.between_twins:
        origin = None if evidence.other_places else "code"
        lines.append(evidence.other_places or "Twins differ, so the cause is not a difference between machines.")
        if evidence.other_twins_agree:
            lines.append(
                f"Only {evidence.left.machine} does not reproduce its own result. Without signs of a bit flip, this does not prove "
                "a hardware fault."
            )
        fix = "Check what computes or loads the value at the named site."
        if clues:
            fix = f"Check whether the value depends on {', '.join(dict.fromkeys(c.where for c in clues[:SHOWN]))}."
        if ended:
            fix = "End the training after a number of steps or epochs, not by the clock or a measured value."
        if integers_may_be_hashes(evidence):
            lines.append(
                "PYTHONHASHSEED is not fixed, so hash() of a string and the order of a set can give other integers in each run."
            )
            fix = "Run again with PYTHONHASHSEED=0. If the twins then agree, replace hash() by hashlib and sort sets."
    else:
        if evidence.suspects:
            shown = ", ".join(s.listed for s in evidence.suspects[:SUSPECTS_SHOWN])
            more = len(evidence.suspects) - SUSPECTS_SHOWN
            rest = f" and {more} more" if more > 0 else ""
            lines.append(f"These facts differ, but are not known to affect this stage: {shown}{rest}.")
        else:
            lines.append("No recorded fact of the environments differs.")
        if evidence.family("folder"):
            lines.append(
                "The script and its modules are the same. Other files of the folder differ; an earlier run may have written them."
            )
        if evidence.twins_agree and evidence.left.machine == evidence.right.machine and not evidence.family("hardware"):
            origin = "environment"
        fix = "Vary one suspect at a time: detctl audit --vary NAME=A,B"
    return [finding(evidence, "unknown", lines, fix, origin=origin, clues=clues)]


def candidates(evidence: Evidence) -> tuple[list[str], list[Clue]]:
    """Returns what could explain the root without proof: lines of user code that take something from outside the training."""
    found: list[tuple[str, Note]] = [
        *((_output(p.left, evidence), p.left) for p in commands_that_differ(evidence)),
        *(
            (f"The times of files order them differently ({p.left.where}).", p.left)
            for p in times_that_differ(evidence)
        ),
        *((f"Rows were inserted in another order ({p.left.where}).", p.left) for p in reordered_inserts(evidence)),
        *((f"{n.raw.get('call')} makes memory without content ({n.where}).", n) for n in unfilled_memory(evidence)),
        *((f"A query leaves the order of its rows open ({n.where}).", n) for n in unordered_queries(evidence)),
        *((f"{n.description}.", n) for n in (*_races(evidence), *_private_generators(evidence))),
        *((read.description, read.note) for read in _possible_reads(evidence)),
    ]
    lines = [f"Possible, not proved: {line}" for line, _ in found[:SHOWN]]
    return lines, [note.clue for _, note in found[:SHOWN]]


def _output(note: Note, evidence: Evidence) -> str:
    used = next((f" and is used at {read.where}" for read in uses_of_output(evidence, note)), "")
    return f"The output of {programs_of(note)} differs ({note.where}){used}."


def _races(evidence: Evidence) -> list[Note]:
    """Returns the notes of threads and of results that are taken as they finish. They explain no difference of runs whose twins agree."""
    if evidence.twins_agree or not (evidence.between_twins or evidence.scope == "runs"):
        return []
    found = interleaving_of(evidence).notes if evidence.between_twins else evidence.notes("thread-step", "threads")
    return [*found, *evidence.notes("unordered")]


def _private_generators(evidence: Evidence) -> list[Note]:
    """Returns the notes of generators that seed themselves and of random bytes of the system. They explain no difference of runs whose
    twins agree."""
    return [] if evidence.twins_agree else [*evidence.notes("self-seeded"), *drawn_numbers(evidence)]


def _possible_reads(evidence: Evidence) -> list[OutsideRead]:
    alike = bool(evidence.twins_agree)
    return [read for read in reads_that_differ(evidence) if not (alike and read.source in ALWAYS_DIFFERS)]
