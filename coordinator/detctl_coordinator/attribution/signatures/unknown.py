"""unknown: no signature matches. The evidence lists what is excluded and what is left."""

from __future__ import annotations

from detctl_proto.verdict_words import OriginWord

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.hash_seed import integers_may_be_hashes
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.domain.fingerprint import Stage

SUSPECTS_SHOWN = 8


def unknown(evidence: Evidence) -> list[CauseFinding]:
    """Always matches. The origin is code if twins differ, environment if configurations of one machine differ, else unknown."""
    ended = evidence.early_exit
    lines = [ended, describe(evidence), *evidence.optimizer_settings]
    equal = [s.word for s in Stage if s < evidence.stage and evidence.observed_equal(s)]
    if equal:
        lines.append(f"These stages are equal up to here and therefore excluded: {', '.join(equal)}.")
    origin: OriginWord | None = None
    if evidence.between_twins:
        origin = "code"
        lines.append("Twins differ, so the cause is not a difference between machines.")
        if evidence.other_twins_agree:
            lines.append(
                f"Only {evidence.left.machine} does not reproduce its own result. Without signs of a bit flip, this does not prove "
                "a hardware fault."
            )
        fix = "Check what computes or loads the value at the named site."
        if ended:
            fix = "End the training after a number of steps or epochs, not by the clock or a measured value."
        if integers_may_be_hashes(evidence):
            lines.append(
                "PYTHONHASHSEED is not fixed, so hash() of a string and the order of a set can give other integers in each run."
            )
            fix = "Run again with PYTHONHASHSEED=0. If the twins then agree, replace hash() by hashlib and sort sets."
    else:
        if evidence.suspects:
            shown = ", ".join(s.listed for s in evidence.suspects[:SUSPECTS_SHOWN])
            more = len(evidence.suspects) - SUSPECTS_SHOWN
            rest = f" and {more} more" if more > 0 else ""
            lines.append(f"These facts differ, but are not known to affect this stage: {shown}{rest}.")
        else:
            lines.append("No recorded fact of the environments differs.")
        if evidence.twins_agree and evidence.left.machine == evidence.right.machine and not evidence.family("hardware"):
            origin = "environment"
        fix = "Vary one suspect at a time: detctl audit --vary NAME=A,B"
    return [finding(evidence, "unknown", lines, fix, origin=origin)]
