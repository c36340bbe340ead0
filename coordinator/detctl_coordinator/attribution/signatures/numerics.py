"""thread-count, cpu-isa, precision-mode, library-version: causes that change how values are computed.

Each needs a differing fact that is known to act on the first stage that differs, with all that this stage takes being equal. The size
alone names none: if it was measured, it must fit; if it was not, the evidence has a line about that.
"""

from __future__ import annotations

from detctl_proto.verdict_words import OriginWord

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import emulates
from detctl_coordinator.attribution.evidence.pair_evidence import NUMERIC, Evidence
from detctl_coordinator.attribution.evidence.settings.suspects import Suspect
from detctl_coordinator.domain.fingerprint import Stage

COMPUTED = (*NUMERIC, Stage.SAMPLE, Stage.BATCH)
# An update is arithmetic on single elements: neither the number of threads nor a precision of matrix products changes it.
ELEMENTWISE = (Stage.UPDATE,)
FLOATS = {"float64", "float32", "float16", "bfloat16"}


def thread_count(evidence: Evidence) -> list[CauseFinding]:
    """Matches if thread counts differ, and the first difference is the result of a computation that threads can split."""
    suspects = evidence.family("threads")
    if evidence.between_twins or not suspects or not _computed_otherwise(evidence) or _elementwise(evidence):
        return []
    if _other_fact_fits_better(evidence, suspects):
        return []
    lines = [_format(s) for s in suspects]
    lines += [describe(evidence), *evidence.size_lines]
    if evidence.stage in (Stage.BACKWARD, Stage.UPDATE) and evidence.observed_equal(Stage.FORWARD):
        lines.append("The forward pass is bit-identical and a gradient differs: threads split long reductions.")
    fix = "Set OMP_NUM_THREADS (and torch.set_num_threads, if used) to the same value in both runs."
    settings = ["variables.OMP_NUM_THREADS", *(s.key for s in suspects)]
    caveats = _caveats(evidence, suspects)
    return [finding(evidence, "thread-count", lines, fix, caveats=caveats, fix_settings=settings)]


def _other_fact_fits_better(evidence: Evidence, suspects: list[Suspect]) -> bool:
    """Returns whether another library, instruction set or precision explains the root better than the thread count."""
    if any(s.deliberate for s in suspects):
        return False
    if evidence.stage in (Stage.BACKWARD, Stage.UPDATE) and evidence.observed_equal(Stage.FORWARD):
        return False
    return bool(evidence.family("library", "isa", "precision"))


def cpu_isa(evidence: Evidence) -> list[CauseFinding]:
    """Matches if another instruction set was used (reported by the probe, or set by a variable) and computed values differ."""
    suspects = evidence.family("isa")
    if evidence.between_twins or not suspects or not _computed_otherwise(evidence):
        return []
    variables = [s for s in suspects if s.key.startswith("variables.")]
    if evidence.family("library") and not any(s.deliberate for s in suspects) and not variables:
        return []
    emulated = [side for side in (evidence.left, evidence.right) if emulates(side.manifest).get("cpu")]
    origin: OriginWord = "environment" if variables and not emulated else "hardware"
    lines = [_format(s) for s in suspects]
    for side in emulated:
        lines.append(f"EMULATED: {side.label} emulates a machine with cpu={emulates(side.manifest)['cpu']}.")
    lines += [describe(evidence), *evidence.size_lines]
    caveats = _caveats(evidence, suspects)
    if variables:
        settings = [s.key for s in variables]
        fix = f"Set {', '.join(s.name for s in variables)} to the same value on both machines, or use the same kind of CPU."
        if not emulated:
            lines.append("A variable selected the instruction set, so the difference comes from the environment.")
    else:
        settings = ["variables.ATEN_CPU_CAPABILITY"]
        fix = (
            "Set ATEN_CPU_CAPABILITY=avx2 (or default) on both machines, so that they use the same kernels, or use the same "
            "kind of CPU."
        )
    return [finding(evidence, "cpu-isa", lines, fix, origin=origin, caveats=caveats, fix_settings=settings)]


def precision_mode(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a switch of TF32, autocast or reduced precision differs and computed values differ."""
    suspects = evidence.family("precision")
    if (
        evidence.between_twins
        or not suspects
        or not (_other_precision(evidence) or _computed_otherwise(evidence, short=True))
        or _elementwise(evidence)
    ):
        return []
    lines = [*map(_format, suspects), describe(evidence), *evidence.size_lines]
    fix, settings = "Use the same precision settings in both runs.", [s.key for s in suspects]
    caveats = _caveats(evidence, suspects)
    return [finding(evidence, "precision-mode", lines, fix, caveats=caveats, fix_settings=settings)]


def library_version(evidence: Evidence) -> list[CauseFinding]:
    """Matches if the version of a package that computes or decodes differs, and so does a computed value or a random state."""
    suspects = evidence.family("library")
    if evidence.between_twins or not suspects or evidence.stage in (Stage.LISTING, Stage.FILES, Stage.CODE):
        return []
    lines = [s.description for s in sorted(suspects, key=_most_relevant_first)[:8]]
    if len(suspects) > 8:
        lines.append(f"and {len(suspects) - 8} more packages with other versions")
    lines.append(describe(evidence))
    fix, settings = "Install the same versions in both runs (one lock file or one image).", [s.key for s in suspects]
    caveats = _caveats(evidence, suspects)
    return [finding(evidence, "library-version", lines, fix, caveats=caveats, fix_settings=settings)]


def _most_relevant_first(suspect: Suspect) -> tuple[int, str]:
    """Sort key: torch first, then other packages that compute, then the rest by name."""
    order = ("torch", "torch.version", "torch.cuda", "python.version", "numpy", "torchvision")
    return (order.index(suspect.name) if suspect.name in order else len(order), suspect.name)


def _computed_otherwise(evidence: Evidence, *, short: bool = False) -> bool:
    """Returns whether the first difference may be a result that was computed otherwise from the same inputs. `short`: in another
    precision, so that an operation of one run alone or fewer bits fit too."""
    looked = evidence.looked
    drawn = evidence.differs(Stage.RNG) or evidence.state_diverges_next
    if drawn and not (looked is not None and looked.same_operation):  # its inputs include the generator's state
        return False
    if evidence.stage not in COMPUTED or evidence.root.kind != "content" or evidence.optimizer_settings:
        return False
    if evidence.stage not in NUMERIC:
        sizes = [d.size for d in evidence.root.sites if d.size is not None]
        varied = any(s.deliberate for s in evidence.family("threads", "isa", "precision"))
        return "gross" not in sizes and (bool(sizes) or varied)
    if looked is None or (looked.zoom.op is None and looked.zoom.inputs_equal is None):
        return not evidence.gross_at_once
    if looked.zoom.inputs_equal is not True and not (short and looked.zoom.op is not None):
        return False
    if looked.elements is None:
        return not evidence.gross_at_once
    if short:
        return not looked.proportional and looked.elements.pattern not in ("one-element", "one-bit", "permuted-rows")
    return not looked.shows_other and looked.elements.pattern != "reduced-precision"


def _other_precision(evidence: Evidence) -> bool:
    """Returns whether the first values to differ are the same in number, and of another floating-point type in each run."""
    drawn = evidence.differs(Stage.RNG) or evidence.state_diverges_next
    lead = evidence.root.lead
    if drawn or evidence.stage not in NUMERIC or lead is None or lead.left is None or lead.right is None:
        return False
    types = {lead.left.dtype, lead.right.dtype}
    return len(types) == 2 and types <= FLOATS and lead.left.shape == lead.right.shape


def _elementwise(evidence: Evidence) -> bool:
    """Returns whether only an update of single elements differs, with equal gradients."""
    return evidence.stage in ELEMENTWISE and evidence.observed_equal(Stage.BACKWARD)


def _format(suspect: Suspect) -> str:
    return suspect.description + (" (varied by the audit)" if suspect.deliberate else "")


def _caveats(evidence: Evidence, suspects: list[Suspect]) -> list[str]:
    """Returns a line with other differing facts that could have the same effect; only an experiment can exclude them."""
    rest = [s for s in evidence.family("threads", "isa", "library", "precision", "hardware") if s not in suspects]
    if not rest:
        return []
    shown = ", ".join(s.listed for s in rest[:4]) + (f" and {len(rest) - 4} more" if len(rest) > 4 else "")
    return [f"Other facts differ as well, and only an experiment can exclude them: {shown}."]
