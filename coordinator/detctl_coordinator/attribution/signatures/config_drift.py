"""config-drift: a parameter, variable, locale or `auto` setting has another value. A narrower cause word wins."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.outside import commands_that_differ, other_output
from detctl_coordinator.attribution.evidence.pair_evidence import DATA, Evidence
from detctl_coordinator.attribution.evidence.settings.suspects import Suspect
from detctl_coordinator.attribution.signatures.opened_files import other_settings
from detctl_coordinator.domain.fingerprint import Stage


def config_drift(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a setting without a cause word of its own differs and can affect the root, or if equal code took another path."""
    if evidence.between_twins:
        return []
    settings, files = settings_that_fit(evidence), other_settings(evidence)
    if settings or files:
        lines = [*(f"{name} differs, and both runs read it." for name in files[:3])]
        lines += [*(s.description + (" (varied by the audit)" if s.deliberate else "") for s in settings[:6])]
        lines += [other_output(command) for command in commands_that_differ(evidence)]  # a locale sorts otherwise
        lines.append(describe(evidence))
        names = [*files, *(s.name for s in settings)]
        fix = f"Use the same {', '.join(names[:3])} in both runs."
        return [finding(evidence, "config-drift", lines, fix, fix_settings=[s.key for s in settings])]
    if _another_path(evidence):
        lines = [
            describe(evidence),
            "Equal source and parameters took different paths in the two runs: a setting such as `auto` resolves differently.",
        ]
        fix = "Replace the automatic setting by the value that it resolves to, and use the same value in both runs."
        return [finding(evidence, "config-drift", lines, fix)]
    return []


def settings_that_fit(evidence: Evidence) -> list[Suspect]:
    """Returns the settings without a cause word of their own that differ and can affect the root."""
    return [s for s in evidence.family("config", "seed", "hash", "workers") if _fits(s, evidence)]


def _fits(suspect: Suspect, evidence: Evidence) -> bool:
    """Returns whether a setting can affect the stage of the root. Parameters can affect any stage, a seed random states, initial
    values and data, and variables any stage but files and random states."""
    if suspect.family == "seed":
        return evidence.stage in (Stage.RNG, Stage.INIT, Stage.FILES, *DATA)
    if suspect.deliberate or suspect.key.startswith(("recipe.parameters.", "recipe.command")):
        return True
    if suspect.read_at:
        if evidence.state_diverges_next and evidence.one_sided_evaluation:
            return False  # the variable enables an evaluation, which draws: extra-rng-draw is narrower
        return evidence.stage not in (Stage.LISTING, Stage.RNG)
    return evidence.stage not in (Stage.LISTING, Stage.FILES, Stage.RNG) and suspect.family in ("config", "hash")


def _another_path(evidence: Evidence) -> bool:
    """Returns whether fingerprints are missing or extra though twins agree and no version, source or worker count differs."""
    return (
        bool(evidence.twins_agree)
        and evidence.root.kind == "structure"
        and any(site.left is None or site.right is None for site in evidence.root.sites)
        and evidence.stage in (Stage.SAMPLE, Stage.BATCH, Stage.FORWARD)
        and not evidence.family("library", "code", "workers")
    )
