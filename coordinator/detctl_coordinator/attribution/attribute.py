"""Finds the causes of compared pairs. The first signature that matches names the cause of a root; equal causes are merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.pair_evidence import NUMERIC, Evidence, RunFacts
from detctl_coordinator.attribution.evidence.settings.command_options import (
    command_suspects,
    interpreter_suspects,
    of_continuation,
)
from detctl_coordinator.attribution.evidence.settings.known_answers import answers_compared
from detctl_coordinator.attribution.evidence.settings.suspects import COMMAND_KEY, Suspect, read_variables, suspects_of
from detctl_coordinator.attribution.harmless_listing import without_harmless_listing
from detctl_coordinator.attribution.measured.closer_look import Looked
from detctl_coordinator.attribution.signatures import PREPARED_SIGNATURES, SIGNATURES
from detctl_coordinator.attribution.signatures.code_version import COMMAND_SITE
from detctl_coordinator.attribution.signatures.optimizers import is_prepared, with_settings
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Phase, Stage

# Random states differ as a consequence of these causes, so no second cause is looked for.
DRAWS_ELSEWHERE = (
    "concurrency",
    "worker-count",
    "worker-seeding",
    "unseeded-rng",
    "identity-seed",
    "config-drift",
    "code-version",
    "data-content",
)
EVIDENCE_LINES_MAX = 12


@dataclass(frozen=True)
class ComparedPair:
    """A pair of runs that differ. `by_twins`: nodes in which twins of one of the two configurations differ. `looked`: the zoom of the
    audit, which may have been made for another pair."""

    pair: PairComparison
    scope: Scope
    left: RunFacts
    right: RunFacts
    twins_agree: bool | None
    other_twins_agree: bool = False
    by_twins: frozenset[Node] = frozenset()
    looked: Looked | None = None


def causes_of(compared: ComparedPair) -> list[CauseFinding]:
    """Returns the causes of one pair, earliest root first. A root in a stage where twins differ anyway is not evidence
    between configurations, so it is skipped."""
    pair = without_harmless_listing(compared.pair, compared.left, compared.right)
    suspects = [] if compared.scope == "twins" else suspects_between(compared)
    if pair.continuation is not None:
        suspects = of_continuation(suspects)
    answers = "" if compared.scope == "twins" else answers_compared(compared.left.manifest, compared.right.manifest)
    found: list[CauseFinding] = []
    for root in pair.roots:
        if root.node in compared.by_twins or _drawn_elsewhere(root, found) or _evaluation_of_a_draw(root, found):
            continue
        evidence = Evidence(
            pair,
            root,
            compared.scope,
            compared.left,
            compared.right,
            tuple(suspects),
            compared.twins_agree,
            compared.other_twins_agree,
            _about(compared, root),
        )
        prepared = is_prepared(evidence)
        signatures = PREPARED_SIGNATURES if prepared else SIGNATURES
        findings = next((named for signature in signatures if (named := signature(evidence))), [])
        if prepared:
            findings = with_settings(evidence, findings)
        if answers and root.node.stage in NUMERIC:
            findings = [replace(one, evidence=(*one.evidence, answers)) for one in findings]
        if _follows_in_evaluation(root, findings, found):
            continue
        found.extend(findings)
    return found


def _about(compared: ComparedPair, root: NodeDifference) -> Looked | None:
    looked = compared.looked
    twins = compared.scope == "twins"
    return looked if looked is not None and looked.concerns(root.node, root.step, twins=twins) else None


def suspects_between(compared: ComparedPair) -> list[Suspect]:
    """Returns what could make the two runs diverge: facts of their environments, settings that the audit varied, variables
    that their code reads, and options of their commands."""
    left, right = compared.pair.left.run.spec, compared.pair.right.run.spec
    found = suspects_of(compared.left.manifest, compared.right.manifest, left, right)
    read_at = {
        str(n.raw["name"]): n.where
        for side in (compared.left, compared.right)
        for n in side.note("variable")
        if "name" in n.raw
    }
    read = {s.key: s for s in read_variables(compared.left.manifest, compared.right.manifest, read_at)}
    found = [replace(s, read_at=read[s.key].read_at) if s.key in read else s for s in found]
    found += [s for key, s in read.items() if key not in {other.key for other in found}]
    if Node(Stage.CODE) not in compared.pair.observed:
        return found
    if any(value_at(side.manifest, "recipe", "in_place") for side in (compared.left, compared.right)):
        # A training that runs in place writes into its own folder, so only its modules show whether the code is the same.
        found = [replace(s, family="folder") if s.family == "code" else s for s in found]
    # Paths have logical names in the recorded command, so it shows which arguments differ, or that only paths do.
    code = compared.pair.differences.get(Node(Stage.CODE))
    site = next((d for d in code.sites if d.site == COMMAND_SITE), None) if code is not None else None
    options = command_suspects(site.left, site.right) if site is not None and site.left and site.right else []
    commands = [value_at(side.manifest, "recipe", "command") for side in (compared.left, compared.right)]
    if all(isinstance(command, list) for command in commands):
        options += interpreter_suspects(*([str(word) for word in command or ()] for command in commands))
    known = {s.key for s in found}
    return [s for s in found if s.key != COMMAND_KEY] + [s for s in options if s.key not in known]


def _drawn_elsewhere(root: NodeDifference, found: Sequence[CauseFinding]) -> bool:
    """Returns whether a random state differs as a consequence of an earlier cause that changes what is drawn."""
    if root.node.stage is not Stage.RNG:
        return False
    return any(f.cause in DRAWS_ELSEWHERE and f.stage is not Stage.RNG and f.step < root.step for f in found)


def _follows_in_evaluation(
    root: NodeDifference, findings: Sequence[CauseFinding], found: Sequence[CauseFinding]
) -> bool:
    """Returns whether nothing explains a difference without gradients, and the training has an explained one in the same step."""
    if root.node.phase is not Phase.EVAL or any(f.cause != "unknown" for f in findings):
        return False
    return any(f.cause != "unknown" and f.step <= root.step for f in found)


def _evaluation_of_a_draw(root: NodeDifference, found: Sequence[CauseFinding]) -> bool:
    """Returns whether a root is the evaluation that made an extra draw; that draw's evidence already names it."""
    if root.node.phase is not Phase.EVAL or root.kind != "structure":
        return False
    return any(f.cause == "extra-rng-draw" and f.step - 1 <= root.step <= f.step for f in found)


def merge(findings: Iterable[CauseFinding]) -> list[CauseFinding]:
    """Returns one finding for each cause and origin, earliest first. The earliest is kept; the others become its evidence."""
    merged: dict[tuple[str, str | None], CauseFinding] = {}
    for finding in sorted(findings, key=lambda f: (f.step, f.stage)):
        key = (finding.cause, finding.origin)
        first = merged.get(key)
        if first is None:
            merged[key] = finding
            continue
        lines = list(first.evidence)
        if (finding.stage, finding.step) != (first.stage, first.step) and finding.runs == first.runs:
            lines.append(f"It also enters at {finding.site}, step {finding.step}.")
        elif finding.runs != first.runs:
            lines.append(f"The same difference is seen between {finding.runs[0]} and {finding.runs[1]}.")
        stages = sorted({*first.carried_on_to, *finding.carried_on_to} - {first.stage})
        evidence = tuple(dict.fromkeys(lines))
        merged[key] = replace(first, evidence=evidence, carried_on_to=tuple(stages))
    return [_shortened(f) for f in merged.values()]


def _shortened(finding: CauseFinding) -> CauseFinding:
    if len(finding.evidence) <= EVIDENCE_LINES_MAX:
        return finding
    left_out = len(finding.evidence) - EVIDENCE_LINES_MAX
    return replace(finding, evidence=(*finding.evidence[:EVIDENCE_LINES_MAX], f"and {left_out} similar lines"))
