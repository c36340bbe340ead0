"""hash-order: the order of a set, or a number that hash() gives, reaches the data or the model."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.hash_seed import hash_seed
from detctl_coordinator.attribution.evidence.interleaving import interleaving_of
from detctl_coordinator.attribution.evidence.observed.source_lines import OrderedPlace
from detctl_coordinator.attribution.evidence.outside import VALUE, reads_that_differ
from detctl_coordinator.attribution.evidence.pair_evidence import DATA, Evidence
from detctl_coordinator.attribution.evidence.reordering import only_labels_differ, reordering_of
from detctl_coordinator.attribution.evidence.system_entropy import drawn_numbers, uses_system_random
from detctl_coordinator.attribution.signatures.config_drift import settings_that_fit
from detctl_coordinator.attribution.signatures.seeds import changed_seeds
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage

HASH_SEED = "variables.PYTHONHASHSEED"
STAGES = (Stage.FILES, *DATA, Stage.INIT, Stage.FORWARD, Stage.LOSS)
SEEDED = (Stage.RNG, *STAGES)
FED_BY_DATA = (Stage.FILES, *DATA)
OPTIONS = "recipe.parameters."
PLACES_SHOWN = 6
CHANGES_SHOWN = 3


def hash_order(evidence: Evidence) -> list[CauseFinding]:
    """Matches if the hash seeds of the runs may differ and random states agree, and the program uses the order of a set where it can
    reach the root. Without its source, it matches samples in another order, or labels that alone differ."""
    computed = evidence.stage is Stage.LOSS and not (evidence.takes_other_values or _untaken(evidence))
    if evidence.stage not in STAGES or computed or evidence.differs(Stage.RNG) or evidence.differs(Stage.LISTING):
        return []
    if not _hashes_may_differ(evidence):
        return []
    notes, places = evidence.notes("hash-order"), places_of(evidence)
    if evidence.source.known and not notes and not places:
        return []  # nothing in the program depends on a hash
    change = reordering_of(evidence)
    ordered = evidence.root.kind == "permutation" or change is not None or only_labels_differ(evidence)
    raced = evidence.between_twins and change is not None and change.nearby and evidence.root.kind != "permutation"
    raced = raced or bool(
        evidence.between_twins and (evidence.notes("unordered") or (interleaving_of(evidence).found and not places))
    )
    competing = raced or evidence.notes("unseeded-rng") or uses_system_random(evidence)
    if not notes and (competing or not (ordered or places)):
        return []
    if not notes and not ordered and any(s.read_at or s.key.startswith(OPTIONS) for s in settings_that_fit(evidence)):
        return []  # a setting that the program reads explains other values; a hash is known to explain another order
    lines = [n.description for n in notes]
    lines += _lines_on(places)
    lines.append(_hash_seeds(evidence))
    lines.append(describe(evidence))
    lines.append(change.description if change is not None else "")
    lines.append("Random states and listings agree, so the data depends on the order of a set or on hash().")
    if evidence.source.hash_seed_set:
        lines.append(
            f"{evidence.source.hash_seed_set} sets PYTHONHASHSEED, but Python reads it when it starts: only child processes see it."
        )
    at = next((n.where for n in notes if n.where), "") or (places[0].where if len(places) == 1 else "")
    clues = [n.clue for n in notes]
    clues += [
        Clue(kind="hash-order", call="hash" if p.kind == "hash" else "set", file=p.file, line=p.line) for p in places
    ]
    return [
        finding(
            evidence, "hash-order", lines, _fix(evidence, places, at), clues=clues, fix_settings=[HASH_SEED], fix_at=at,
            change=[row for place in places[:CHANGES_SHOWN] if place.fix is not None for row in place.fix.change],
        )
    ]  # fmt: skip


def hashed_seed(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a seeding call gets another value in each run, the program makes a number with hash() that can reach it, and nothing
    else that differs is known to feed a seed. It is narrower than identity-seed."""
    changed = changed_seeds(evidence)
    places = [p for p in evidence.source.orders if p.kind == "hash" and p.items == "hashed" and p.reaches]
    if evidence.stage not in SEEDED or not changed or not places or not _hashes_may_differ(evidence):
        return []
    if any(note.clue.value_kind for note in evidence.notes("identity")) or drawn_numbers(evidence):
        return []  # the seed looks like a clock or a process id
    if evidence.family("seed") or any(read.use == VALUE for read in reads_that_differ(evidence)):
        return []
    lines = [*(seed.description for seed in changed), *_lines_on(places), _hash_seeds(evidence), describe(evidence)]
    at = places[0].where if len(places) == 1 else ""
    clues = [
        *(seed.clue for seed in changed),
        *(Clue(kind="hash-order", call="hash", file=p.file, line=p.line) for p in places),
    ]
    change = [row for place in places[:CHANGES_SHOWN] if place.fix is not None for row in place.fix.change]
    fix = _fix(evidence, places, at)
    return [
        finding(
            evidence, "hash-order", lines, fix, clues=clues, fix_settings=[HASH_SEED], fix_at=at, change=change
        )
    ]  # fmt: skip


def _untaken(evidence: Evidence) -> bool:
    """Returns whether this is an experiment, which gets no zoom, with a loss that differs by more than rounding."""
    experiment = all(one.run.spec.purpose == "experiment" for one in (evidence.pair.left, evidence.pair.right))
    return experiment and evidence.size in ("small", "gross")


def _hashes_may_differ(evidence: Evidence) -> bool:
    """Returns whether strings may hash to other numbers in the two runs."""
    values = [hash_seed(side.manifest) for side in (evidence.left, evidence.right)]
    if all(value not in (None, "", "random") for value in values) and values[0] == values[1]:
        return False
    return not evidence.twins_agree or bool(evidence.family("hash"))


def _hash_seeds(evidence: Evidence) -> str:
    shown = [
        "unset" if (value := hash_seed(side.manifest)) in (None, "") else str(value)
        for side in (evidence.left, evidence.right)
    ]
    both = f"is {shown[0]} in both runs" if shown[0] == shown[1] else f"differs: {shown[0]} vs {shown[1]}"
    return f"PYTHONHASHSEED {both}."


def places_of(evidence: Evidence) -> list[OrderedPlace]:
    """Returns the places of the program that use the order of a set of hashed items and reach the root: those that reach its stage, or
    else those that reach data or model at all."""
    hashed = [place for place in evidence.source.orders if place.items == "hashed"]
    needed = "data" if evidence.stage in FED_BY_DATA else "model"
    reaching = [place for place in hashed if needed in place.reaches]
    # Data reaches the model too, so a place that feeds data explains a forward pass only if no other does.
    return reaching or ([place for place in hashed if place.reaches] if needed == "model" else [])


def _lines_on(places: list[OrderedPlace]) -> list[str]:
    lines = [place.description for place in places[:PLACES_SHOWN]]
    if len(places) > PLACES_SHOWN:
        lines.append(f"and {len(places) - PLACES_SHOWN} more such places")
    if len(lines) > 1:
        lines.insert(0, f"One or more of these {len(places)} places cause it; it was not measured which.")
    return lines


def _fix(evidence: Evidence, places: list[OrderedPlace], at: str) -> str:
    hides = "" if evidence.source.hash_seed_set else " PYTHONHASHSEED=0 only hides the problem."
    if not places:
        return f"Sort the set before it is used{f' ({at})' if at else ''}.{hides}"
    known = [(place, place.fix) for place in places if place.fix is not None]
    if not known:
        place = places[0]
        return f"Look at {place.where}: {place.expression} must not depend on the order of a set or on hash().{hides}"
    parts = [
        f"{fix.expression or ' / '.join(line.strip() for line in fix.new)} at {place.where}" for place, fix in known
    ]
    what = (
        "Use a hash that is the same in each process"
        if known[0][0].kind == "hash"
        else "Sort the set before it is used"
    )
    more = f"; and {len(parts) - CHANGES_SHOWN} more" if len(parts) > CHANGES_SHOWN else ""
    return f"{what}: {'; '.join(parts[:CHANGES_SHOWN])}{more}.{hides}"
