"""thread-count, cpu-isa, precision-mode, library-version: what changes how numbers are computed."""

from __future__ import annotations

from detctl_proto.verdict_words import OriginWord

from detctl_coordinator.attribution.evidence.evidence import NUMERIC, CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.evidence.facts import emulates
from detctl_coordinator.attribution.evidence.suspects import Suspect
from detctl_coordinator.domain.fingerprint import Stage

COMPUTED = (*NUMERIC, Stage.SAMPLE, Stage.BATCH)


def thread_count(evidence: Evidence) -> list[CauseFinding]:
    """Threads differ and the first difference is computed, values alone (no structure), not gross."""
    told = evidence.family("threads")
    if evidence.within or not told or not _computed(evidence):
        return []
    if _stronger(evidence, told):
        return []
    lines = [s.words + _on_purpose(s) for s in told]
    lines.append(describe(evidence))
    if evidence.stage in (Stage.BACKWARD, Stage.UPDATE) and evidence.observed_equal(Stage.FORWARD):
        lines.append("the forward pass is bit-equal and a gradient differs: long reductions are split by threads")
    fix = "set OMP_NUM_THREADS (and torch.set_num_threads, if used) to the same value on both"
    settings = ["variables.OMP_NUM_THREADS", *(s.key for s in told)]
    others = _others(evidence, told)
    return [finding(evidence, "thread-count", lines, fix, caveats=others, fix_settings=settings)]


def _stronger(evidence: Evidence, told: list[Suspect]) -> bool:
    """Whether another fact fits better: a deliberate one, another torch, or another instruction set before the gradients."""
    if any(s.deliberate for s in told):
        return False
    if evidence.stage in (Stage.BACKWARD, Stage.UPDATE) and evidence.observed_equal(Stage.FORWARD):
        return False
    return bool(evidence.family("library", "isa", "precision"))


def cpu_isa(evidence: Evidence) -> list[CauseFinding]:
    """Another instruction set was dispatched (read back by the probe, or set by a variable), and values differ."""
    told = evidence.family("isa")
    if evidence.within or not told or not _computed(evidence):
        return []
    variables = [s for s in told if s.key.startswith("variables.")]
    if evidence.family("library") and not any(s.deliberate for s in told) and not variables:
        return []
    emulated = [side for side in (evidence.left, evidence.right) if emulates(side.manifest).get("cpu")]
    origin: OriginWord = "environment" if variables and not emulated else "hardware"
    lines = [s.words + _on_purpose(s) for s in told]
    for side in emulated:
        lines.append(f"EMULATED: {side.label} stands in for a machine with cpu={emulates(side.manifest)['cpu']}")
    lines.append(describe(evidence))
    others = _others(evidence, told)
    if variables:
        settings = [s.key for s in variables]
        fix = f"set {', '.join(s.name for s in variables)} alike on both, or run on the same kind of CPU"
        if not emulated:
            lines.append("a variable chose the instruction set, so this comes from the environment")
    else:
        settings = ["variables.ATEN_CPU_CAPABILITY"]
        fix = "set ATEN_CPU_CAPABILITY=avx2 (or default) on both to take the same kernels, or use the same kind of CPU"
    return [finding(evidence, "cpu-isa", lines, fix, origin=origin, caveats=others, fix_settings=settings)]


def precision_mode(evidence: Evidence) -> list[CauseFinding]:
    """A switch of TF32, autocast or reduced precision differs."""
    told = evidence.family("precision")
    if evidence.within or not told or not _computed(evidence):
        return []
    lines = [*[s.words + _on_purpose(s) for s in told], describe(evidence)]
    fix, settings = "set the same precision switches on both", [s.key for s in told]
    others = _others(evidence, told)
    return [finding(evidence, "precision-mode", lines, fix, caveats=others, fix_settings=settings)]


def library_version(evidence: Evidence) -> list[CauseFinding]:
    """Another version of something that computes or decodes, and a computed value or a random stream differs."""
    told = evidence.family("library")
    if evidence.within or not told or evidence.stage in (Stage.LISTING, Stage.FILES, Stage.CODE):
        return []
    lines = [s.words for s in sorted(told, key=_telling)[:8]]
    if len(told) > 8:
        lines.append(f"and {len(told) - 8} more packages of other versions")
    lines.append(describe(evidence))
    fix, settings = "install the same versions on both (one lock file or one image)", [s.key for s in told]
    others = _others(evidence, told)
    return [finding(evidence, "library-version", lines, fix, caveats=others, fix_settings=settings)]


def _telling(suspect: Suspect) -> tuple[int, str]:
    """torch first, then what computes, then the rest by name."""
    order = ("torch", "torch.version", "torch.cuda", "python.version", "numpy", "torchvision")
    return (order.index(suspect.name) if suspect.name in order else len(order), suspect.name)


def _computed(evidence: Evidence) -> bool:
    """Computed values that differ by rounding. Gross content at the data's stages is other data, not another kernel."""
    if evidence.stage not in COMPUTED or evidence.root.kind != "content" or evidence.differs(Stage.RNG):
        return False
    if evidence.state_parts_next:
        return False
    sizes = [d.size for d in evidence.root.sites if d.size is not None]
    return evidence.stage in NUMERIC or not sizes or "gross" not in sizes


def _on_purpose(suspect: Suspect) -> str:
    return " (varied on purpose)" if suspect.deliberate else ""


def _others(evidence: Evidence, told: list[Suspect]) -> list[str]:
    """Facts that differ as well and could do the same: only an experiment tells them apart."""
    rest = [s for s in evidence.family("threads", "isa", "library", "precision", "hardware") if s not in told]
    if not rest:
        return []
    shown = "; ".join(s.words for s in rest[:4]) + (f"; and {len(rest) - 4} more" if len(rest) > 4 else "")
    return [f"also different, not told apart without an experiment: {shown}"]
