"""hash-order, concurrency, stateful-data: order and content that neither a seed nor a file system decides."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.entropy import entropy, shuffled_by_system
from detctl_coordinator.attribution.evidence.evidence import DATA, CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.evidence.hashing import hash_seed, pinned
from detctl_coordinator.attribution.evidence.moved import moved, only_labels
from detctl_coordinator.domain.fingerprint import Stage

HASH_SEED = "variables.PYTHONHASHSEED"
STAGES = (Stage.FILES, *DATA, Stage.INIT, Stage.FORWARD)


def hash_order(evidence: Evidence) -> list[CauseFinding]:
    """A permutation (or a noted label map) with equal random states, and hashing not pinned alike on both sides."""
    if evidence.stage not in STAGES or evidence.differs(Stage.RNG) or evidence.differs(Stage.LISTING):
        return []
    notes = evidence.notes("hash-order")
    values = [hash_seed(side.manifest) for side in (evidence.left, evidence.right)]
    pinned = all(value not in (None, "", "random") for value in values)
    if pinned and values[0] == values[1]:
        return []
    if evidence.twins_agree and not evidence.family("hash"):
        return []
    way = moved(evidence)
    ordered = evidence.root.kind == "permutation" or way is not None or only_labels(evidence)
    raced = evidence.within and way is not None and way.nearby and evidence.root.kind != "permutation"
    raced = raced or bool(evidence.within and evidence.notes("unordered"))
    if not notes and (not ordered or raced or evidence.notes("unseeded-rng") or shuffled_by_system(evidence)):
        return []
    lines = [n.words for n in notes]
    shown = ["unset" if value in (None, "") else str(value) for value in values]
    lines.append(f"PYTHONHASHSEED is {shown[0]}" + ("" if shown[0] == shown[1] else f" against {shown[1]}"))
    lines.append(describe(evidence))
    lines.append(way.words if way is not None else "")
    lines.append("random states and listings agree: the order of a set or of a hash reached the data")
    at = next((n.where for n in notes if n.where), "")
    fix = (
        "sort the set before it is used"
        + (f" ({at})" if at else "")
        + "; PYTHONHASHSEED=0 before the start only hides it"
    )
    clues = [n.clue for n in notes]
    return [finding(evidence, "hash-order", lines, fix, clues=clues, fix_settings=[HASH_SEED], fix_at=at)]


def concurrency(evidence: Evidence) -> list[CauseFinding]:
    """Twins see other data while no random state differs, and the program takes results as they are finished; or, without that note,
    the same samples in another order: overtaking each other, or with hashing pinned."""
    noted = evidence.notes("unordered")
    if not evidence.within or evidence.stage not in (STAGES if noted else (Stage.FILES, Stage.SAMPLE, Stage.BATCH)):
        return []
    if evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng"):
        return []
    way = moved(evidence)
    inside = evidence.root.kind == "permutation" and pinned(evidence)
    overtaken = way is not None and way.nearby
    if not inside and not overtaken and (not noted or entropy(evidence)):
        return []
    lines = [
        *[n.words for n in noted],
        describe(evidence),
        way.words if way is not None else "",
        f"they moved by {way.distance} places at the median, as things do that overtake each other"
        if way is not None and overtaken
        else "",
        "twins differ and no recorded random state does: threads or processes race for the order",
    ]
    at = next((n.where for n in noted if n.where), "")
    fix = "take results in the order in which they were submitted" + (f" ({at})" if at else "")
    return [finding(evidence, "concurrency", lines, fix, clues=[n.clue for n in noted], fix_at=at)]


def stateful_data(evidence: Evidence) -> list[CauseFinding]:
    """A dataset that a note saw keep state of its own, while no generator is unseeded."""
    notes = evidence.notes("stateful-data")
    if not notes or evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or evidence.notes("unseeded-rng"):
        return []
    lines = [*[n.words for n in notes], describe(evidence)]
    fix = "make __getitem__ depend on its index alone"
    return [finding(evidence, "stateful-data", lines, fix, clues=[n.clue for n in notes])]
