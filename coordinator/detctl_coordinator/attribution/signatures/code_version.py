"""code-version: the recipe's source differs."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.signatures.opened_files import other_settings
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Stage

COMMAND_SITE = "command"


def code_version(evidence: Evidence) -> list[CauseFinding]:
    """Any root where the digest of the sources, or a recorded source file, differs. Twins share one source."""
    if evidence.within:
        return []
    lines = [s.words for s in evidence.family("code")]
    code = evidence.pair.differences.get(Node(Stage.CODE))
    # A module that one run alone imports is rather a consequence, of an option for example.
    both = [d for d in code.sites if d.left is not None and d.right is not None] if code is not None else []
    files = [d.site for d in both if d.site != COMMAND_SITE]
    if files:
        lines.append(f"the source of {', '.join(files)} differs")
    elif Node(Stage.CODE) in evidence.pair.observed and lines and other_settings(evidence):
        return []  # config-drift is the narrower word
    if not lines:
        return []
    fix = "run the same commit of the recipe on both: check it out, or compare the two folders"
    return [finding(evidence, "code-version", [*lines, describe(evidence)], fix)]


def other_files(evidence: Evidence) -> list[CauseFinding]:
    """The last resort: files of a folder differ in which trainings run in place, and none of them is a module of theirs."""
    lines = [s.words for s in evidence.family("folder")]
    if evidence.within or not lines:
        return []
    lines.append(
        "script and modules are the same; other files of the folder differ, which an earlier run may have written"
    )
    fix = "compare the two folders; let runs write elsewhere, or ignore what they write in .gitignore"
    return [finding(evidence, "code-version", [*lines, describe(evidence)], fix)]
