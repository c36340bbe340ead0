"""code-version: the source code differs."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.signatures.opened_files import other_settings
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Stage

COMMAND_SITE = "command"
OWN_FOLDER = "{cwd}/"


def code_version(evidence: Evidence) -> list[CauseFinding]:
    """Matches any root if the digest of the sources, or a recorded source file, differs. Twins share one source."""
    if evidence.between_twins:
        return []
    lines = [s.description for s in evidence.family("code")]
    code = evidence.pair.differences.get(Node(Stage.CODE))
    # A module that only one run imports is more likely a consequence, for example of an option.
    both = [d for d in code.sites if d.left is not None and d.right is not None] if code is not None else []
    files = [d.site for d in both if d.site != COMMAND_SITE]
    if files:
        lines.append(f"The source of {', '.join(files)} differs.")
    elif Node(Stage.CODE) in evidence.pair.observed and lines and (other_settings(evidence) or _own_data(evidence)):
        return []  # config-drift and data-content are narrower
    if not lines:
        return []
    fix = "Run the same commit of the recipe in both runs: check it out, or compare the two folders."
    return [finding(evidence, "code-version", [*lines, describe(evidence)], fix)]


def _own_data(evidence: Evidence) -> bool:
    """Returns whether data files of the training's own folder differ, which changes the digest of its sources too."""
    return any(a.name.startswith(OWN_FOLDER) for a, _ in evidence.read.data)
