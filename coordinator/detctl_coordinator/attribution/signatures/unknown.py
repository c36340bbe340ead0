"""unknown: no signature fits. The evidence says what was excluded and what is left."""

from __future__ import annotations

from detctl_proto.verdict_words import OriginWord

from detctl_coordinator.attribution.evidence.evidence import CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.evidence.hashing import counts_may_be_hashes
from detctl_coordinator.domain.fingerprint import Stage

SUSPECTS_SHOWN = 8


def unknown(evidence: Evidence) -> list[CauseFinding]:
    """Always speaks. Origin: code where twins differ; environment where one machine's environments do; else not told."""
    ended = evidence.ended_by_itself
    lines = [ended, describe(evidence), *evidence.optimizer_settings]
    equal = [s.word for s in Stage if s < evidence.stage and evidence.observed_equal(s)]
    if equal:
        lines.append(f"excluded, because equal up to here: {', '.join(equal)}")
    origin: OriginWord | None = None
    if evidence.within:
        origin = "code"
        lines.append("twins of one arm differ, so no difference between machines is needed to explain it")
        if evidence.elsewhere_agree:
            lines.append(
                f"only {evidence.left.machine} disagrees with itself; without the mark of a flipped bit this is no proof "
                "of a broken part"
            )
        fix = "look at what feeds the named site"
        if ended:
            fix = "let a number of steps or epochs end the training, not the clock or a measured value"
        if counts_may_be_hashes(evidence):
            lines.append(
                "PYTHONHASHSEED is not fixed: hash() of a string or the order of a set gives other whole numbers each run"
            )
            fix = "run again with PYTHONHASHSEED=0: if the twins then agree, replace hash() by hashlib and sort sets"
    else:
        if evidence.suspects:
            shown = "; ".join(s.words for s in evidence.suspects[:SUSPECTS_SHOWN])
            more = len(evidence.suspects) - SUSPECTS_SHOWN
            lines.append(f"different, but not known to act here: {shown}" + (f"; and {more} more" if more > 0 else ""))
        else:
            lines.append("no recorded fact of the environments differs")
        if evidence.twins_agree and evidence.left.machine == evidence.right.machine and not evidence.family("hardware"):
            origin = "environment"
        fix = "vary one suspect at a time: detctl audit --vary NAME=A,B"
    return [finding(evidence, "unknown", lines, fix, origin=origin)]
