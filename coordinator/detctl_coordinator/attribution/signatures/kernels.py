"""nondeterministic-kernel and hardware-fault: twins compute different results from equal inputs.

Both rest on a zoom: which operation took the same in both runs and gave something else, and how its result differs element by element.
"""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.interleaving import interleaving_of
from detctl_coordinator.attribution.evidence.pair_evidence import NUMERIC, Evidence
from detctl_coordinator.attribution.measured.closer_look import Looked
from detctl_coordinator.comparison.sizes.sketches import one_bit_flip
from detctl_coordinator.domain.fingerprint import Stage

KERNEL_FIX = (
    "Call torch.use_deterministic_algorithms(True) and set torch.backends.cudnn.benchmark = False and "
    "CUBLAS_WORKSPACE_CONFIG=:4096:8."
)


def hardware_fault(evidence: Evidence) -> list[CauseFinding]:
    """Matches if one element of one tensor differs by a power of two between twins, deterministic algorithms are on, and the
    twins of another machine agree."""
    if not evidence.between_twins or not evidence.other_twins_agree or evidence.stage not in NUMERIC:
        return []
    if evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng") or not deterministic(evidence):
        return []
    flip = _flip(evidence)
    if not flip:
        return []
    lines = [
        flip,
        f"Only {evidence.left.machine} does not reproduce its own result, although deterministic algorithms are on.",
        describe(evidence),
    ]
    fix = f"Repeat the audit on {evidence.left.machine} and on an equal machine, and test its memory and devices."
    return [finding(evidence, "hardware-fault", lines, fix)]


def nondeterministic_kernel(evidence: Evidence) -> list[CauseFinding]:
    """Matches if an operation gives twins different results for equal inputs, and it is known to race or the results differ by rounding
    in many elements."""
    if not evidence.between_twins or evidence.stage not in NUMERIC or evidence.stage is Stage.INIT:
        return []
    looked = evidence.looked
    # Equal inputs include the state of a generator from which the operation draws, so random states that differ elsewhere do not matter.
    if evidence.root.kind != "content" or looked is None or not looked.same_operation or deterministic(evidence):
        return []
    if looked.drew_otherwise or evidence.optimizer_settings:
        return []  # equal operations with another learning rate
    if interleaving_of(evidence).stepped:
        return []
    if not looked.shows_rounding and (not looked.zoom.known_to_race or _wrong_in_one_place(looked)):
        return []
    lines = [describe(evidence), *evidence.size_lines]
    if looked.zoom.known_to_race:
        lines.append(f"torch lists {looked.zoom.op} among the operations that may give another result in each run.")
    if evidence.other_twins_agree:
        lines.append(f"Only {evidence.left.machine} does not reproduce its own result.")
    return [finding(evidence, "nondeterministic-kernel", lines, KERNEL_FIX)]


def _wrong_in_one_place(looked: Looked) -> bool:
    """Returns whether a single element differs, by more than another order of a sum makes."""
    one = looked.elements
    return one is not None and one.differing == 1 and one.total > 1 and not one.few_ulps


def _flip(evidence: Evidence) -> str:
    """Returns a line if exactly one bit of one value differs; empty: it does not, or it is not known."""
    looked = evidence.looked
    if looked is not None and looked.elements is not None:
        if not looked.same_operation or looked.elements.pattern != "one-bit":
            return ""
        return f"Exactly one bit of one element differs in the result of {looked.zoom.op}, whose inputs are equal."
    if len(evidence.root.sites) != 1:
        return ""
    left, right = evidence.root.sites[0].left, evidence.root.sites[0].right
    flipped = one_bit_flip(left.sketch, right.sketch) if left is not None and right is not None else None
    if flipped is None:
        return ""
    return f"One element of {evidence.root.site} differs by {flipped:g}, a power of two, as after a single bit flip."


def deterministic(evidence: Evidence) -> bool:
    """Returns whether deterministic algorithms are known to be on in both runs."""
    names = ("deterministic_algorithms", "use_deterministic_algorithms", "deterministic")
    sides = [value_at(side.manifest, "torch", "flags") or {} for side in (evidence.left, evidence.right)]
    return all(any(str(flags.get(name)) in ("True", "1", "on") for name in names) for flags in sides)
