"""hash-order, concurrency, stateful-data: order and content that neither a seed nor a file system decides."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence import DATA, CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.facts import value_at
from detctl_coordinator.attribution.moved import moved_samples, only_labels
from detctl_coordinator.domain.fingerprint import Stage

STAGES = (Stage.FILES, *DATA, Stage.INIT, Stage.FORWARD)


def hash_order(evidence: Evidence) -> list[CauseFinding]:
    """A permutation (or a noted label map) with equal random states, and hashing not pinned alike on both sides."""
    if evidence.stage not in STAGES or evidence.differs(Stage.RNG) or evidence.differs(Stage.LISTING):
        return []
    notes = evidence.notes("hash-order")
    values = [_hash_seed(side.manifest) for side in (evidence.left, evidence.right)]
    pinned = all(value not in (None, "", "random") for value in values)
    if pinned and values[0] == values[1]:
        return []
    if evidence.twins_agree and not evidence.family("hash"):
        return []
    moved = moved_samples(evidence)
    ordered = evidence.root.kind == "permutation" or moved or only_labels(evidence)
    if not notes and (not ordered or evidence.notes("unseeded-rng")):
        return []
    lines = [n.words for n in notes]
    shown = ["unset" if value in (None, "") else str(value) for value in values]
    lines.append(f"PYTHONHASHSEED is {shown[0]}" + ("" if shown[0] == shown[1] else f" against {shown[1]}"))
    lines.append(describe(evidence))
    lines.append(moved)
    lines.append("random states and listings agree: the order of a set or of a hash reached the data")
    at = next((n.where for n in notes if n.where), "")
    fix = (
        "sort the set before it is used"
        + (f" ({at})" if at else "")
        + "; PYTHONHASHSEED=0 before the start only hides it"
    )
    return [finding(evidence, "hash-order", lines, fix)]


def concurrency(evidence: Evidence) -> list[CauseFinding]:
    """Twins see the same samples in another order while no random state differs and hashing is pinned."""
    moved = evidence.root.kind == "permutation" and evidence.stage in (Stage.FILES, Stage.SAMPLE, Stage.BATCH)
    if not evidence.within or not moved or not _pinned(evidence):
        return []
    if evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng"):
        return []
    if (
        evidence.differs(Stage.RNG)
        or evidence.notes("unseeded-rng")
        or (evidence.root.step == 0 and not _pinned(evidence))
    ):
        return []
    lines = [
        describe(evidence),
        "twins differ and no recorded random state does: threads or processes race for the order",
    ]
    return [finding(evidence, "concurrency", lines, "take results in the order in which they were asked for")]


def stateful_data(evidence: Evidence) -> list[CauseFinding]:
    """A dataset that a note saw keep state of its own, while no generator is unseeded."""
    notes = evidence.notes("stateful-data")
    if not notes or evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or evidence.notes("unseeded-rng"):
        return []
    lines = [*[n.words for n in notes], describe(evidence)]
    return [finding(evidence, "stateful-data", lines, "make __getitem__ depend on its index alone")]


def _hash_seed(manifest: dict[str, object]) -> str | None:
    value = value_at(manifest, "variables", "PYTHONHASHSEED")
    return None if value is None else str(value)


def _pinned(evidence: Evidence) -> bool:
    return all(_hash_seed(s.manifest) not in (None, "", "random") for s in (evidence.left, evidence.right))
