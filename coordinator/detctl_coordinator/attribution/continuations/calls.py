"""Describes a continuation: which run continues which, the calls that restored it, and the names of states in sentences. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from detctl_coordinator.attribution.continuations.restoration import Restoration, State
from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.pair_evidence import RunFacts
from detctl_coordinator.comparison.pair import PairComparison

NAMES: Mapping[State, str] = {
    "weights": "weights",
    "buffers": "buffers",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "scaler": "scale of the loss",
    "ema": "moving average of the weights (EMA) or another model without an optimizer",
    "epoch": "epoch counter",
    "order": "order of samples",
    "position": "position in the data",
    "python": "Python's generator (random)",
    "numpy": "numpy's generator",
    "torch": "torch's generator",
    "cuda": "CUDA's generators",
    "loader": "generator of the loader",
    "private": "generator of the script's own",
    "script": "values that the script keeps itself",
}
# `net.load_state_dict(state["model"])`: the name of what holds the loaded file.
HOLDER = re.compile(r"load_state_dict\(\s*(\w+)\s*\[|^(\w+)\s*=\s*torch\.load\(")

# A line that saves the state of one object alone; a trainer's own state_dict() may have more.
SINGLE = re.compile(
    r"torch\.save\(\s*(?!self\.state_dict)[\w.]+\.(state_dict|get_rng_state|get_state)\(\)|save_(file|model)\("
)


@dataclass(frozen=True)
class LoadedFile:
    """A call that restores or saves something: the line of the user's code and its text. `in_script`: the line itself has the call."""

    what: str
    where: str
    source: str
    in_script: bool
    package: str = ""  # of a framework that makes the call for the user
    path: str = ""

    @property
    def file(self) -> str:
        """The name of the file without its numbers: `epoch#.pt`."""
        return re.sub(r"\d+", "#", self.path.rpartition("/")[2])

    @property
    def single(self) -> bool:
        """Whether a line saves the state of one object alone, so that nothing can be added to it."""
        return SINGLE.search(self.source) is not None

    @property
    def object(self) -> str:
        """The name of the object that is restored: `self.net` of `self.net.load_state_dict(…)`."""
        found = re.search(r"([\w.]+)\.load_state_dict\(", self.source)
        return found[1] if found else ""

    def saving(self, key: str) -> str:
        """Returns the name of the object whose state a line saves under a key; empty if the line does not show it."""
        found = re.search(rf"[\"']?\b{re.escape(key)}[\"']?\s*[:=]\s*([\w.]+?)(\.module)?\.state_dict\(", self.source)
        return found[1] if found else ""

    @property
    def holder(self) -> str:
        """The name of the loaded file's content in the script."""
        found = HOLDER.search(self.source)
        return next((name for name in found.groups() if name), "state") if found else "state"


def loaded_files(facts: RunFacts) -> list[LoadedFile]:
    """Returns the calls that restored something before the first step, in order; from the first file on, if one was loaded. Copies of
    weights that belong to the training, as to a target network, come before the file or in later steps."""
    notes = facts.note("restored")
    calls = [_call(note) for note in notes if not note.raw.get("step")] or [_call(note) for note in notes]
    first = next((number for number, call in enumerate(calls) if call.what == "file"), 0)
    return calls[first:]


def saved_files(facts: RunFacts) -> list[LoadedFile]:
    """Returns the calls that saved a checkpoint, in order."""
    return [_call(note) for note in facts.note("saved")]


def _call(note: Note) -> LoadedFile:
    source = str(note.raw.get("source") or "")
    name = str(note.raw.get("call") or "").rpartition(".")[2]
    package = str(note.raw.get("package") or "")
    in_script = not package and bool(name) and f"{name}(" in source
    path = str(note.raw.get("path") or "")
    return LoadedFile(str(note.raw.get("what") or ""), note.where, source, in_script, package, path)


def named(states: Iterable[State]) -> str:
    """Returns `weights, optimizer and schedule`."""
    names = [NAMES[state] for state in states]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def continued(pair: PairComparison, found: Restoration, names: tuple[str, str] | None = None) -> str:
    """Returns `The second run continues the first from step 12. Restored: …. Not restored: ….` `names`: of the run that continues and of
    the other; None: the first and the second run."""
    assert pair.continuation is not None
    by_place = {"right": ("The second run", "the first"), "left": ("The first run", "the second")}
    who, of = names or by_place[pair.continuation.continuing]
    parts = [f"{who} continues {of} from step {pair.continuation.step}."]
    if found.restored:
        parts.append(f"Restored: {named(found.restored)}.")
    if found.lost:
        parts.append(f"Not restored: {named(found.lost)}.")
    return " ".join(parts)
