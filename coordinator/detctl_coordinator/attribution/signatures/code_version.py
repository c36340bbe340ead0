"""code-version: the recipe's source differs."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence import CauseFinding, Evidence, describe, finding
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Stage

COMMAND_SITE = "command"


def code_version(evidence: Evidence) -> list[CauseFinding]:
    """Any root where the digest of the sources, or a recorded source file, differs. Twins share one source."""
    if evidence.within:
        return []
    lines = [s.words for s in evidence.family("code")]
    code = evidence.pair.differences.get(Node(Stage.CODE))
    files = [d.site for d in code.sites if d.site != COMMAND_SITE] if code is not None else []
    if files:
        lines.append(f"the source of {', '.join(files)} differs")
    if not lines:
        return []
    fix = "run the same commit of the recipe on both: check it out, or compare the two folders"
    return [finding(evidence, "code-version", [*lines, describe(evidence)], fix)]
