"""Evidence that threads or processes race: who steps the model, what threads share, and in which order their tasks end."""

from __future__ import annotations

from dataclasses import dataclass

from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence, RunFacts
from detctl_coordinator.domain.fingerprint import Stage

# Several threads that make steps change the weights. Which of them is recorded depends on timing as well, so its data differs too.
CHANGED_BY_STEPS = (Stage.INIT, Stage.SAMPLE, Stage.BATCH, Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)


@dataclass(frozen=True)
class Interleaving:
    """`stepped`: notes of threads that step one model. `shared`: notes of threads that draw from one generator or change one
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
    steps = [*evidence.notes("thread-step"), *(note for note in notes if note.raw.get("steps"))]
    stepped = steps if evidence.stage in CHANGED_BY_STEPS else []
    shared = sorted((note for note in notes if note not in steps), key=lambda note: not note.raw.get("generator"))
    before, after = _orders(evidence.left), _orders(evidence.right)
    overtaken = any(before[count] != after[count] for count in before.keys() & after.keys())
    return Interleaving(tuple(stepped), tuple(shared), overtaken)


def _orders(side: RunFacts) -> dict[int, str]:
    """Returns number of ended tasks -> digest of their order."""
    return {int(note.raw.get("count") or 0): str(note.raw.get("order")) for note in side.note("thread-order")}
