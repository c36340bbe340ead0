"""code-version: the source code differs."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.signatures.opened_files import other_settings
from detctl_coordinator.comparison.alignment import SiteDifference
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Fingerprint, Stage

COMMAND_SITE = "command"
OWN_FOLDER = "{cwd}/"


def code_version(evidence: Evidence) -> list[CauseFinding]:
    """Matches any root if the digest of the sources, or a recorded source file, differs. Twins of an audit share one source; recordings
    that look like twins may have imported modules from elsewhere."""
    runs = [reader.run.spec.audit_id for reader in (evidence.pair.left, evidence.pair.right)]
    if evidence.between_twins and runs[0] and runs[0] == runs[1]:
        return []
    lines = [] if evidence.between_twins else [s.description for s in evidence.family("code")]
    code = evidence.pair.differences.get(Node(Stage.CODE))
    sites = code.sites if code is not None else ()
    # A module that only one run imports is more likely a consequence, for example of an option.
    files = [d.site for d in sites if d.left is not None and d.right is not None and d.site != COMMAND_SITE]
    lines += _imported_from_elsewhere(sites)
    if files:
        lines.append(f"The source of {', '.join(files)} differs.")
    elif Node(Stage.CODE) in evidence.pair.observed and lines and (other_settings(evidence) or _own_data(evidence)):
        return []  # config-drift and data-content are narrower
    if not lines:
        return []
    fix = "Run the same commit of the recipe in both runs: check it out, or compare the two folders."
    return [finding(evidence, "code-version", [*lines, describe(evidence)], fix)]


def _imported_from_elsewhere(sites: Sequence[SiteDifference]) -> list[str]:
    """Returns a line for each module that the runs import from different folders, with different content."""
    ours = {d.site.rpartition("/")[2]: d for d in sites if d.right is None and d.left is not None}
    theirs = {d.site.rpartition("/")[2]: d for d in sites if d.left is None and d.right is not None}
    return [
        f"The first run imports {one.site} and the second {theirs[name].site}, which have different content."
        for name, one in ours.items()
        if name in theirs and name != "__init__.py" and _digest(one.left) != _digest(theirs[name].right)
    ]


def _digest(found: Fingerprint | None) -> bytes:
    return found.digest if found is not None else b""


def _own_data(evidence: Evidence) -> bool:
    """Returns whether data files of the training's own folder differ, which changes the digest of its sources too."""
    return any(a.name.startswith(OWN_FOLDER) for a, _ in evidence.read.data)
