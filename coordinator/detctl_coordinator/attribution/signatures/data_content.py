"""data-content: data files or pretrained weights differ, are missing or extra."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.observed.read_files import FilesCompared, ReadFile
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.signatures.config_drift import settings_that_fit
from detctl_coordinator.attribution.signatures.opened_files import absent_names, opened_by_one, resized, shortened
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage

FIX = "Use the same data in both runs: compare the checksums of the files named here."
# What a file can hold besides samples: weights, the state of an optimizer or of generators.
FED_BY_FILES = (Stage.RNG, Stage.INIT, Stage.ORDER, Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)
NATIVELY_READ = (Stage.INIT, Stage.SAMPLE, Stage.BATCH, Stage.FORWARD, Stage.LOSS)
CLUES_MAX = 20


def changed_samples(evidence: Evidence) -> list[CauseFinding]:
    """Matches if samples differ and a file that both runs read has another content. It is tried before causes that are not measured."""
    if evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or evidence.root.kind != "content":
        return []
    if evidence.differs(Stage.RNG) or not evidence.read.data:
        return []
    return [_measured(evidence)]


def data_content(evidence: Evidence) -> list[CauseFinding]:
    """Matches if names are missing or extra in a listing, if other files are opened, or if a file that both read differs.

    Twins of an audit read the same files, so only a measured difference counts between them, as for recordings of one machine."""
    stage, kind = evidence.stage, evidence.root.kind
    if evidence.between_twins:
        fed = stage in FED_BY_FILES and evidence.read.data and not evidence.optimizer_settings
        return [_measured(evidence)] if fed else []
    if stage is Stage.LISTING and kind != "permutation":
        return [finding(evidence, "data-content", [describe(evidence), *_listing_lines(evidence)], FIX)]
    if stage is Stage.FILES and kind != "permutation" and not evidence.family("workers"):
        if settings_that_fit(evidence):
            return []  # an option chooses what is opened
        alone = shortened(list(opened_by_one(evidence).values()), "files that only one run opens")
        lines = [*alone, *_moved(evidence.read), describe(evidence)]
        return [finding(evidence, "data-content", lines, FIX, clues=_clues(evidence.read))]
    if stage in (Stage.SAMPLE, Stage.BATCH) and kind == "content":
        return _samples(evidence)
    if (
        stage in FED_BY_FILES
        and evidence.read.data
        and not settings_that_fit(evidence)
        and not evidence.optimizer_settings
    ):
        return [_measured(evidence)]
    return []


def named_files(evidence: Evidence) -> list[CauseFinding]:
    """Matches if weights or data differ that no random state explains, and files differ that the program names, although the
    probe did not see them opened. It is tried last, since nothing shows that they were read."""
    named = evidence.read.named
    if evidence.stage not in NATIVELY_READ or evidence.root.kind == "permutation" or not named:
        return []
    if evidence.differs(Stage.RNG) or settings_that_fit(evidence):
        return []
    lines = [
        f"{_changed(a, b)} It is named by {a.named or b.named}; code in C may have read it, which the probe does not see."
        for a, b in named
    ]
    lines = [*shortened(lines, "files with another content"), describe(evidence)]
    clues = [Clue(kind="file", file=a.name) for a, _ in named[:CLUES_MAX]]
    return [finding(evidence, "data-content", lines, _same([a.name for a, _ in named]), clues=clues)]


def _same(names: list[str]) -> str:
    return f"Use the same {', '.join(names[:3])}{' …' if len(names) > 3 else ''} in both runs."


def _listing_lines(evidence: Evidence) -> list[str]:
    return [*(f"{d.site}: {d.description}" for d in evidence.root.sites[1:]), *absent_names(evidence)]


def _measured(evidence: Evidence) -> CauseFinding:
    """Returns the cause with the files that differ in content."""
    read = evidence.read
    names = [a.name for a, _ in read.data]
    lines = shortened([_changed(a, b) for a, b in read.data], "files with another content")
    lines += _moved(read)
    if read.equal:
        lines.append(f"The other {read.equal} files that both runs read are equal.")
    lines.append(describe(evidence))
    return finding(evidence, "data-content", lines, _same(names), clues=_clues(read))


def _changed(a: ReadFile, b: ReadFile) -> str:
    size = f"both {a.bytes} bytes" if a.bytes == b.bytes else f"{a.bytes} vs {b.bytes} bytes"
    seen = " It lies in a folder that the program lists; code in C may have read it." if a.listed and b.listed else ""
    return f"The content of {a.name} differs ({size}).{seen}"


def _moved(read: FilesCompared) -> list[str]:
    return shortened(
        [f"{a} in the first run has the content of {b} in the second." for a, b in read.renamed], "moved files"
    )


def _clues(read: FilesCompared) -> list[Clue]:
    return [Clue(kind="file", file=a.name) for a, _ in read.data[:CLUES_MAX]]


def _samples(evidence: Evidence) -> list[CauseFinding]:
    """Returns the cause if samples differ under equal names, and sizes of opened files differ or nothing else explains it."""
    sizes = resized(evidence)
    if evidence.read.all_equal:
        return []  # so the difference comes from how the files are decoded, or from elsewhere
    explained = evidence.family("library", "workers", "isa", "config", "code")
    quiet = evidence.twins_agree and not evidence.differs(Stage.RNG) and evidence.size != "tiny" and not explained
    if not sizes and not quiet:
        return []
    if not sizes and (found := named_files(evidence)):
        return found
    lines = [*sizes, describe(evidence)]
    if not sizes:
        lines.append("Order, random states and twins agree and no library differs, so the stored data must differ.")
    return [finding(evidence, "data-content", lines, FIX)]
