"""nondeterministic-kernel and hardware-fault: twins whose inputs agree and whose results do not."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import NUMERIC, CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.comparison.sketches import one_bit_flip
from detctl_coordinator.domain.fingerprint import Stage


def hardware_fault(evidence: Evidence) -> list[CauseFinding]:
    """One element of one tensor, off by a power of two, on one machine whose peer repeats itself, all deterministic."""
    if not evidence.within or not evidence.elsewhere_agree or evidence.stage not in NUMERIC:
        return []
    if evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng") or not deterministic(evidence):
        return []
    if len(evidence.root.sites) != 1:
        return []
    left, right = evidence.root.sites[0].left, evidence.root.sites[0].right
    flipped = one_bit_flip(left.sketch, right.sketch) if left is not None and right is not None else None
    if flipped is None:
        return []
    lines = [
        f"one element of {evidence.root.site} differs by {flipped:g}, a power of two: the mark of one flipped bit",
        f"only {evidence.left.machine} disagrees with itself; deterministic algorithms are on",
        describe(evidence),
    ]
    fix = f"repeat the audit on {evidence.left.machine} and on a peer; test its memory and its device"
    return [finding(evidence, "hardware-fault", lines, fix)]


def nondeterministic_kernel(evidence: Evidence) -> list[CauseFinding]:
    """Twins part by rounding in a computed value while their inputs and random states agree."""
    if not evidence.within or evidence.stage not in NUMERIC or evidence.stage is Stage.INIT:
        return []
    if evidence.root.kind != "content" or evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng"):
        return []
    if evidence.size not in ("ulp", "small") or deterministic(evidence) or evidence.state_parts_next:
        return []
    lines = [describe(evidence), "inputs and random states agree; the results differ by rounding from run to run"]
    if evidence.elsewhere_agree:
        lines.append(f"only {evidence.left.machine} disagrees with itself")
    fix = "torch.use_deterministic_algorithms(True), cudnn.benchmark = False, CUBLAS_WORKSPACE_CONFIG=:4096:8"
    return [finding(evidence, "nondeterministic-kernel", lines, fix)]


def deterministic(evidence: Evidence) -> bool:
    """Whether deterministic algorithms are known to be on in both runs."""
    names = ("deterministic_algorithms", "use_deterministic_algorithms", "deterministic")
    sides = [value_at(side.manifest, "torch", "flags") or {} for side in (evidence.left, evidence.right)]
    return all(any(str(flags.get(name)) in ("True", "1", "on") for name in names) for flags in sides)
