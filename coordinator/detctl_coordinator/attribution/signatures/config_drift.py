"""config-drift: a parameter, variable, locale or `auto` setting resolves differently. A narrower word wins."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import DATA, CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.evidence.suspects import Suspect
from detctl_coordinator.attribution.signatures.opened_files import other_settings
from detctl_coordinator.domain.fingerprint import Stage


def config_drift(evidence: Evidence) -> list[CauseFinding]:
    """A setting without a word of its own differs and can feed the root; or the same source took another path."""
    if evidence.within:
        return []
    told, files = settings_that_fit(evidence), other_settings(evidence)
    if told or files:
        lines = [*(f"{name}, which both runs read, differs" for name in files[:3])]
        lines += [*(s.words + (" (varied on purpose)" if s.deliberate else "") for s in told[:6])]
        lines.append(describe(evidence))
        names = [*files, *(s.name for s in told)]
        fix = f"set {', '.join(names[:3])} alike on both"
        return [finding(evidence, "config-drift", lines, fix, fix_settings=[s.key for s in told])]
    if _another_path(evidence):
        lines = [
            describe(evidence),
            "the same source and parameters took another path on the two sides: a setting such as `auto` resolved differently",
        ]
        return [finding(evidence, "config-drift", lines, "write out what the setting resolves to, and set it alike")]
    return []


def settings_that_fit(evidence: Evidence) -> list[Suspect]:
    """Settings without a word of their own that differ and can feed the root."""
    return [s for s in evidence.family("config", "seed", "hash", "workers") if _fits(s, evidence)]


def _fits(suspect: Suspect, evidence: Evidence) -> bool:
    """Parameters may feed any stage; a seed shows in random states, initial values or the data; variables anywhere but
    in files and random states."""
    if suspect.family == "seed":
        return evidence.stage in (Stage.RNG, Stage.INIT, Stage.FILES, *DATA)
    if suspect.deliberate or suspect.key.startswith(("recipe.parameters.", "recipe.command")):
        return True
    if suspect.read_at:
        if evidence.state_parts_next and evidence.evaluates_alone:
            return False  # the variable turns an evaluation on, and that draws: extra-rng-draw is the narrower word
        return evidence.stage not in (Stage.LISTING, Stage.RNG)
    return evidence.stage not in (Stage.LISTING, Stage.FILES, Stage.RNG) and suspect.family in ("config", "hash")


def _another_path(evidence: Evidence) -> bool:
    """Records missing or extra though twins agree and no version, source or worker count differs."""
    return (
        bool(evidence.twins_agree)
        and evidence.root.kind == "structure"
        and any(site.left is None or site.right is None for site in evidence.root.sites)
        and evidence.stage in (Stage.SAMPLE, Stage.BATCH, Stage.FORWARD)
        and not evidence.family("library", "code", "workers")
    )
