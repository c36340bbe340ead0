"""nondeterministic-kernel and hardware-fault: twins compute different results from equal inputs."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.pair_evidence import NUMERIC, Evidence
from detctl_coordinator.comparison.sketches import one_bit_flip
from detctl_coordinator.domain.fingerprint import Stage


def hardware_fault(evidence: Evidence) -> list[CauseFinding]:
    """Matches if one element of one tensor differs by a power of two between twins, deterministic algorithms are on, and the
    twins of another machine agree."""
    if not evidence.between_twins or not evidence.other_twins_agree or evidence.stage not in NUMERIC:
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
        f"One element of {evidence.root.site} differs by {flipped:g}, a power of two, as after a single bit flip.",
        f"Only {evidence.left.machine} does not reproduce its own result, although deterministic algorithms are on.",
        describe(evidence),
    ]
    fix = f"Repeat the audit on {evidence.left.machine} and on an equal machine, and test its memory and devices."
    return [finding(evidence, "hardware-fault", lines, fix)]


def nondeterministic_kernel(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a computed value differs between twins by rounding while inputs and random states agree."""
    if not evidence.between_twins or evidence.stage not in NUMERIC or evidence.stage is Stage.INIT:
        return []
    if evidence.root.kind != "content" or evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng"):
        return []
    if evidence.optimizer_settings:
        return []  # equal operations with another learning rate
    if evidence.size not in ("ulp", "small") or deterministic(evidence) or evidence.state_diverges_next:
        return []
    lines = [describe(evidence), "Inputs and random states agree, but results differ by rounding from run to run."]
    if evidence.other_twins_agree:
        lines.append(f"Only {evidence.left.machine} does not reproduce its own result.")
    fix = (
        "Call torch.use_deterministic_algorithms(True) and set torch.backends.cudnn.benchmark = False and "
        "CUBLAS_WORKSPACE_CONFIG=:4096:8."
    )
    return [finding(evidence, "nondeterministic-kernel", lines, fix)]


def deterministic(evidence: Evidence) -> bool:
    """Returns whether deterministic algorithms are known to be on in both runs."""
    names = ("deterministic_algorithms", "use_deterministic_algorithms", "deterministic")
    sides = [value_at(side.manifest, "torch", "flags") or {} for side in (evidence.left, evidence.right)]
    return all(any(str(flags.get(name)) in ("True", "1", "on") for name in names) for flags in sides)
