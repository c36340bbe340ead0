"""Causes that lie outside the training: its clock, folder, host, files' times, commands, databases, and memory without content.

Each needs a fact that was measured: another value, another output, another order of times or inserts, or a value that the source uses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.outside import (
    ALWAYS_DIFFERS,
    CONTROL,
    NAMES,
    VALUE,
    OutsideRead,
    Pairing,
    commands_that_differ,
    drawing_commands,
    drawing_queries,
    listing_commands,
    other_output,
    programs_of,
    reads_that_differ,
    reordered_inserts,
    times_that_differ,
    unfilled_memory,
    uses_of_output,
)
from detctl_coordinator.attribution.evidence.pair_evidence import DATA, Evidence
from detctl_coordinator.attribution.evidence.reordering import reordering_of
from detctl_coordinator.attribution.evidence.selection import changed_files, selection_lines
from detctl_coordinator.attribution.signatures.hash_order import places_of
from detctl_coordinator.domain.fingerprint import Stage

SELECTED = (Stage.FILES, Stage.INIT, *DATA)
MAY_HOLD_MEMORY = (Stage.SAMPLE, Stage.BATCH, Stage.FORWARD, Stage.LOSS)
COMPUTED = (Stage.FORWARD, Stage.LOSS, Stage.UPDATE)
# A number of processors is a setting that resolves differently, and entropy is drawn; neither is an identity.
OTHER_CAUSES = {"processors": "config-drift", "entropy": "unseeded-rng"}
_BY_TIME = re.compile(r"\b(?:sort|sorted|max|min|nlargest|nsmallest|argsort)\b")
NAMES_A_PLACE = ("folder", "home", "host", "user")
IDENTITY_PROGRAMS = frozenset(("date", "hostname", "whoami", "id", "uname", "pwd", "mktemp", "uptime"))
LISTING_PROGRAMS = frozenset(("ls", "find", "du", "locate", "fd"))


def chosen_outside(evidence: Evidence) -> list[CauseFinding]:
    """Matches if the clock, a process id, an address, or a path, host or user that differs decides or enters a value."""
    if evidence.stage not in (*SELECTED, *COMPUTED) or evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng"):
        return []
    if evidence.family("code", "config", "hash", "library", "seed", "workers"):
        return []  # a difference that somebody made comes first
    if not evidence.between_twins and (evidence.read.data or changed_files(evidence)):
        return []  # files with another content are measured
    found = [read for read in reads_that_differ(evidence) if _can_reach(read, evidence)]
    if found and found[0].source in NAMES_A_PLACE and evidence.read.data:
        return []  # the place held another file, whose content is measured
    if not found or (found[0].source == "address" and unfilled_memory(evidence)):
        return []  # addresses are hashed for many reasons, so memory without content explains it as well
    if evidence.notes("self-seeded") and all(read.use != VALUE for read in found):
        return []  # a generator that seeds itself may decide as well
    lines = [*(read.description for read in found), *selection_lines(evidence), *evidence.optimizer_settings]
    if evidence.stage in COMPUTED:
        lines.append("Inputs and random states agree.")
    else:
        lines.append("Random states and listings agree, and no generator without a seed was seen.")
    lead = found[0]
    name = NAMES.get(lead.source, lead.source)
    quoted = f" (`{lead.line}`)" if lead.line else ""
    fix = f"Do not let {name} decide at {lead.where}{quoted}. Use a parameter or a constant there."
    clues = [read.note.clue for read in found]
    cause = OTHER_CAUSES.get(lead.source, "identity-seed")
    return [finding(evidence, cause, [*lines, describe(evidence)], fix, clues=clues, fix_at=lead.where)]


def _can_reach(read: OutsideRead, evidence: Evidence) -> bool:
    """Returns whether a read can explain this root: its use is known, and its value differs between runs such as these."""
    if read.source in ALWAYS_DIFFERS and evidence.twins_agree:
        return False
    if read.use == VALUE:
        return True
    if evidence.optimizer_settings and evidence.notes("self-seeded"):
        return False  # a score that is drawn at random changes a setting as well
    structural = evidence.root.kind == "structure" or bool(evidence.optimizer_settings)
    return read.use == CONTROL and (structural or evidence.stage in SELECTED)


def command_output(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a command that draws, prints the time or the host, or lists a folder gives the runs another output."""
    if evidence.stage not in (*SELECTED, Stage.FORWARD) or (evidence.twins_agree and evidence.between_twins):
        return []
    if evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng"):
        return []
    drawn = drawing_commands(evidence)
    differing = commands_that_differ(evidence)
    if drawn and not evidence.twins_agree:
        lines = [
            f"{programs_of(note)} draws at random outside Python, where no seed reaches it ({note.where})."
            for note in drawn
        ]
        lines += [other_output(pairing) for pairing in differing if pairing.left.where in {n.where for n in drawn}]
        fix = (
            f"Shuffle in Python with a seeded generator instead of at {drawn[0].where}{_quoted(drawn[0])}, or give the command a fixed "
            "source (shuf and sort: --random-source=FILE)."
        )
        return [_found(evidence, "unseeded-rng", lines, fix, drawn)]
    for pairing in differing:
        programs = {str(name) for name in pairing.left.raw.get("programs") or ()}
        note, line = pairing.left, other_output(pairing)
        if programs & IDENTITY_PROGRAMS and uses_of_output(evidence, note):
            fix = f"Do not let {programs_of(note)} decide at {note.where}{_quoted(note)}. Use a parameter or a constant there."
            return [_found(evidence, "identity-seed", [line], fix, [note])]
        if programs & LISTING_PROGRAMS and "sort" not in programs and _lists_otherwise(pairing, programs):
            what = f"Sort the lines that {programs_of(note)} prints"
            if note.raw.get("by_time"):
                what = f"Sort or choose by name instead of by time, which copies and checkouts change, in {programs_of(note)}"
            fix = f"{what} at {note.where}{_quoted(note)}."
            return [_found(evidence, "filesystem-order", [line], fix, [note])]
    return _unseen_listing(evidence)


def _lists_otherwise(pairing: Pairing, programs: set[str]) -> bool:
    """Returns whether a command printed the same names in another order, or took the first or last of them from another order."""
    note = pairing.left
    some = bool(programs & {"head", "tail"}) and (note.raw.get("by_time") or note.raw.get("unsorted"))
    return pairing.equal("unordered") or bool(some and pairing.equal("lines"))


def _unseen_listing(evidence: Evidence) -> list[CauseFinding]:
    """Returns the cause if the same files or samples come in another order, and a command whose output was not seen lists a folder."""
    change = reordering_of(evidence)
    notes = listing_commands(evidence) if change is not None or evidence.root.kind == "permutation" else []
    if not notes or (evidence.between_twins and not evidence.other_places) or places_of(evidence):
        return []
    lines = [f"{programs_of(note)} prints names in the order of the file system ({note.where})." for note in notes]
    lines += [change.description if change is not None else "", evidence.other_places]
    fix = f"Sort the lines that {programs_of(notes[0])} prints at {notes[0].where}{_quoted(notes[0])}."
    return [_found(evidence, "filesystem-order", lines, fix, notes)]


def drawing_query(evidence: Evidence) -> list[CauseFinding]:
    """Matches if data differ and a query of the user's code lets the database draw, which no seed reaches."""
    if evidence.stage not in (*SELECTED, Stage.FORWARD) or evidence.twins_agree or evidence.differs(Stage.RNG):
        return []
    drawn = drawing_queries(evidence)
    if not drawn or not (evidence.between_twins or evidence.scope == "runs") or evidence.notes("unseeded-rng"):
        return []
    lines = [
        f"The query at {note.where} lets the database draw with random(), which no seed reaches." for note in drawn
    ]
    fix = (
        f"Do not let the database draw at {drawn[0].where}{_quoted(drawn[0])}: read the rows in a fixed order (ORDER BY a key), and draw "
        "in Python with a seeded generator."
    )
    return [_found(evidence, "unseeded-rng", lines, fix, drawn)]


def raced_inserts(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a table got the same rows in another order, inserted by several threads."""
    if evidence.stage not in SELECTED or evidence.differs(Stage.RNG):
        return []
    raced = [p for p in reordered_inserts(evidence) if max(_int(p, "left"), _int(p, "right")) > 1]
    if not raced:
        return []
    first = raced[0].left
    lines = [
        f"The same {p.left.raw.get('rows')} rows were inserted into {p.left.raw.get('table')} in another order, from "
        f"{p.left.raw.get('threads')} threads; {p.left.where} reads them."
        for p in raced
    ]
    lines.append("The threads race for the order, and no random state differs.")
    fix = f"Add ORDER BY with a key to the query at {first.where}{_quoted(first)}."
    return [_found(evidence, "concurrency", lines, fix, [p.left for p in raced])]


def order_by_times(evidence: Evidence) -> list[CauseFinding]:
    """Matches if the times of files, which user code reads, put the same files in another order."""
    if evidence.stage not in SELECTED or evidence.differs(Stage.RNG):
        return []
    found = times_that_differ(evidence)
    if not _reorders(
        evidence
    ):  # a program may only print the times: then the line must sort, and nothing else may explain the root
        quiet = not evidence.suspects and not evidence.read.data
        found = [p for p in found if quiet and _BY_TIME.search(str(p.left.raw.get("code") or ""))]
    if not found:
        return []
    first = found[0].left
    lines = [
        f"{p.left.where} reads the times of {p.left.raw.get('count')} files, which put the same files in another order."
        for p in found
    ]
    lines.append("Copies and checkouts give files other times, and equal times leave the order to the file system.")
    fix = f"Sort or choose by name instead of by time at {first.where}{_quoted(first)}."
    return [_found(evidence, "filesystem-order", lines, fix, [p.left for p in found])]


def _reorders(evidence: Evidence) -> bool:
    """Returns whether the runs see the same files or samples in another order, or others."""
    moved = evidence.root.kind == "permutation" or reordering_of(evidence) is not None
    return moved or bool(selection_lines(evidence))


def uninitialised_memory(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a value differs between twins, no random state does, and user code makes memory for it that nothing fills.

    An initial value has the name of its memory. Later values have none, so there the file must never write to the memory."""
    if evidence.stage not in (*MAY_HOLD_MEMORY, Stage.INIT) or evidence.twins_agree or evidence.differs(Stage.RNG):
        return []
    if not (evidence.between_twins or evidence.scope == "runs") or evidence.root.kind != "content":
        return []
    notes = _named_memory(evidence) if evidence.stage is Stage.INIT else _never_written(evidence)
    if not notes:
        return []
    lines = [
        f"{evidence.root.site if evidence.stage is Stage.INIT else 'Memory'} is made by {note.raw.get('call')} at {note.where}"
        f"{_quoted(note)}, and nothing fills {'all of it' if note.raw.get('filled') else 'it'}."
        for note in notes
    ]
    lines.append("No random state differs, so the values are what the memory held before.")
    first = notes[0]
    fix = f"Give it content at {first.where}{_quoted(first)}: {_filling(first)}."
    return [_found(evidence, "uninitialised-memory", lines, fix, notes)]


def _named_memory(evidence: Evidence) -> list[Note]:
    """Returns the lines that make the parameters and buffers which differ; empty if one of them comes from elsewhere."""
    names = dict.fromkeys(site.site.rpartition(".")[2].rpartition("/")[2] for site in evidence.root.sites)
    found = [unfilled_memory(evidence, name) for name in names]
    return list({note.where: note for notes in found for note in notes}.values()) if all(found) else []


def _never_written(evidence: Evidence) -> list[Note]:
    if evidence.stage in (Stage.FORWARD, Stage.LOSS) and evidence.size != "gross":
        return []  # a race between kernels looks like this
    if evidence.notes("unseeded-rng") or any(read.use for read in reads_that_differ(evidence)):
        return []
    return [note for note in unfilled_memory(evidence) if not note.raw.get("filled")]


def _filling(note: Note) -> str:
    call = str(note.raw.get("call") or "")
    zeros = {
        "torch.empty": "torch.zeros", "torch.empty_like": "torch.zeros_like", "torch.Tensor.new_empty": "new_zeros",
        "numpy.empty": "numpy.zeros", "numpy.empty_like": "numpy.zeros_like",
    }.get(call, "torch.zeros")  # fmt: skip
    return f"use {zeros} instead of {call}, or initialise it with a function of torch.nn.init"


def _found(evidence: Evidence, cause: str, lines: Sequence[str], fix: str, notes: Sequence[Note]) -> CauseFinding:
    clues = [note.clue for note in notes]
    lines = [*lines, *selection_lines(evidence), describe(evidence)]
    return finding(evidence, cause, lines, fix, clues=clues, fix_at=notes[0].where)


def _quoted(note: Note) -> str:
    return f" (`{note.raw['code']}`)" if note.raw.get("code") else ""


def _int(pairing: Pairing, side: str) -> int:
    note = pairing.left if side == "left" else pairing.right
    return int(note.raw.get("threads") or 0)
