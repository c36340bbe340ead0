"""The cause finding that a signature returns, made from the evidence about a root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from detctl_proto.verdict_words import KindWord, OriginWord

from detctl_coordinator.attribution.evidence.cause_origins import CAUSES
from detctl_coordinator.attribution.evidence.observed.source_lines import SourceFacts
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.comparison.first_divergence import Lasting
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage


@dataclass(frozen=True)
class CauseFinding:
    """An indicated cause at a root. `evidence`: sentences, the strongest first. `caveats`: sentences that an experiment
    resolves. Later code decides on `clues`, `fix_settings`, `fix_at` and `change`, which domain/verdict.py describes."""

    cause: str
    origin: OriginWord | None
    stage: Stage
    step: int
    site: str
    kind: KindWord
    evidence: tuple[str, ...]
    fix: str
    runs: tuple[str, ...] = ()
    carried_on_to: tuple[Stage, ...] = field(default=())
    lasting: Lasting = "persistent"
    description: str = ""
    caveats: tuple[str, ...] = ()
    clues: tuple[Clue, ...] = ()
    fix_settings: tuple[str, ...] = ()
    fix_at: str = ""
    change: tuple[str, ...] = ()
    source: SourceFacts = field(default_factory=SourceFacts)


Signature = Callable[[Evidence], list[CauseFinding]]


def finding(
    evidence: Evidence,
    cause: str,
    lines: Sequence[str],
    fix: str,
    *,
    origin: OriginWord | None = None,
    caveats: Sequence[str] = (),
    clues: Sequence[Clue] = (),
    fix_settings: Sequence[str] = (),
    fix_at: str = "",
    change: Sequence[str] = (),
) -> CauseFinding:
    """Returns a cause at the root of this evidence. Its origin is the one in CAUSES unless another is given. change: the fix as lines
    of a diff of the user's own source."""
    root = evidence.root
    stages = sorted({node.stage for node in evidence.pair.affected_by(root)} - {root.node.stage})
    return CauseFinding(
        cause=cause,
        origin=origin or CAUSES[cause],
        stage=root.node.stage,
        step=root.step,
        site=root.site,
        kind=root.kind,
        evidence=tuple(dict.fromkeys(line for line in lines if line)),
        fix=fix,
        runs=(evidence.left.label, evidence.right.label),
        carried_on_to=tuple(stages),
        lasting=root.lasting,
        description=root.description,
        caveats=tuple(caveats),
        clues=tuple(dict.fromkeys(clues)),
        fix_settings=tuple(dict.fromkeys(fix_settings)),
        fix_at=fix_at,
        change=tuple(change) or _fix_of_lines(evidence, cause, clues),
        source=evidence.source,
    )


def _fix_of_lines(evidence: Evidence, cause: str, clues: Sequence[Clue]) -> tuple[str, ...]:
    """Returns the first of the user's own lines that the clues name, with the change that removes the cause."""
    fixes = (evidence.source.fix(cause, clue.file, clue.line) for clue in clues)
    return next((fix.change for fix in fixes if fix is not None), ())


def describe(evidence: Evidence) -> str:
    """Returns what differs at the root, in one line."""
    root = evidence.root
    lead = root.lead
    difference = lead.description if lead is not None and lead.description else "the runs differ"
    more = f" (and {len(root.sites) - 1} more fingerprints of this step)" if len(root.sites) > 1 else ""
    return f"{root.site} at step {root.step}{_on_ranks(evidence)}: {difference}{more}"


def _on_ranks(evidence: Evidence) -> str:
    """Returns ` on rank 1 of 4` for several ranks, else nothing."""
    world = len({key.rank for key in evidence.pair.left.streams()})
    ranks = evidence.root.ranks
    if world < 2 or not ranks:
        return ""
    if len(ranks) == world:
        return f" on all {world} ranks"
    return f", first on rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))} of {world}"
