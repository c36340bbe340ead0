"""Evidence that threads or processes race: who steps the model, what threads share, and in which order their tasks end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence, RunFacts
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Stage

# Several threads that make steps change the weights. Which of them is recorded depends on timing as well, so its data differs too.
CHANGED_BY_STEPS = (
    Stage.RNG,
    Stage.INIT,
    Stage.SAMPLE,
    Stage.BATCH,
    Stage.FORWARD,
    Stage.LOSS,
    Stage.BACKWARD,
    Stage.UPDATE,
)

# What is drawn at random, and what is computed from it.
CHANGED_BY_DRAWS = (Stage.RNG, Stage.INIT, Stage.ORDER, Stage.SAMPLE, Stage.BATCH, Stage.FORWARD, Stage.LOSS)


@dataclass(frozen=True)
class Interleaving:
    """`stepped`: notes of threads or processes that step one model. `shared`: notes of threads that draw from one generator or change one
    container. `overtaken`: whether tasks of threads ended in another order."""

    stepped: tuple[Note, ...] = ()
    shared: tuple[Note, ...] = ()
    overtaken: bool = False

    @property
    def found(self) -> bool:
        return bool(self.stepped or self.shared)

    @property
    def notes(self) -> list[Note]:
        return [*self.stepped, *self.shared]


def interleaving_of(evidence: Evidence) -> Interleaving:
    """Returns the evidence between two twins that can explain the root; empty for other pairs."""
    if not evidence.between_twins:
        return Interleaving()
    notes = evidence.notes("threads")
    steps = [*steps_of(evidence), *(note for note in notes if note.raw.get("steps"))]
    stepped = steps if evidence.stage in CHANGED_BY_STEPS else []
    shared = [note for note in notes if not note.raw.get("steps") and note.raw.get("several") is not False]
    shared = sorted(shared, key=lambda note: not note.raw.get("generator"))
    before, after = _orders(evidence.left), _orders(evidence.right)
    overtaken = any(before[count] != after[count] for count in before.keys() & after.keys())
    return Interleaving(tuple(stepped), tuple(shared), overtaken)


def racing_draws(evidence: Evidence) -> list[Note]:
    """Returns the notes of threads that draw from each global generator whose state differs at the root or later; empty if one of these
    generators has another explanation. The state may differ later than what was drawn, since it is read at the start of a step."""
    if not evidence.between_twins or evidence.stage not in CHANGED_BY_DRAWS:
        return []
    states = evidence.pair.differences.get(Node(Stage.RNG))
    names = {d.site for d in states.sites} if states is not None else set()
    unseeded = {str(note.raw.get("generator")) for note in evidence.notes("unseeded-rng")}
    drawn = {str(note.raw["generator"]): note for note in evidence.notes("threads") if note.raw.get("generator")}
    if not names or names & unseeded or not names <= drawn.keys():
        return []
    return [drawn[name] for name in sorted(names)]


def steps_of(evidence: Evidence) -> list[Note]:
    """Returns the notes of threads that make steps, and of processes if more than one updates weights in shared memory."""
    found = evidence.notes("thread-step")
    several = any(_processes_that_share(reader) > 1 for reader in (evidence.pair.left, evidence.pair.right))
    return [note for note in found if several or not note.raw.get("shared_memory")]


def _processes_that_share(reader: RunReader) -> int:
    return sum(
        any(isinstance(note, Mapping) and note.get("shared_memory") for note in seal.detail.get("notes") or ())
        for seal in reader.seals().values()
    )


def _orders(side: RunFacts) -> dict[int, str]:
    """Returns number of ended tasks -> digest of their order."""
    return {int(note.raw.get("count") or 0): str(note.raw.get("order")) for note in side.note("thread-order")}
