"""data-content: files differ, are missing or extra; pretrained weights too."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence import CauseFinding, Evidence, describe, finding
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey

FIX = "bring the same data to both: compare the checksums of the files named here"
# Files whose sizes are compared; opening order is known, so the first steps tell.
FILES_SHOWN = 3


def data_content(evidence: Evidence) -> list[CauseFinding]:
    """Names missing or extra in a listing; other files opened; or other samples though names, order and RNG agree."""
    if evidence.within:
        return []
    stage, kind = evidence.stage, evidence.root.kind
    if stage is Stage.LISTING and kind != "permutation":
        return [finding(evidence, "data-content", [describe(evidence), *_listing_lines(evidence)], FIX)]
    if stage is Stage.FILES and kind != "permutation" and not evidence.family("workers"):
        return [finding(evidence, "data-content", [describe(evidence)], FIX)]
    if stage in (Stage.SAMPLE, Stage.BATCH) and kind == "content":
        return _samples(evidence)
    return []


def _listing_lines(evidence: Evidence) -> list[str]:
    return [f"{d.site}: {d.words}" for d in evidence.root.sites[1:]]


def _samples(evidence: Evidence) -> list[CauseFinding]:
    """Content under equal names: certain enough where sizes of opened files differ, or where nothing else can explain it."""
    resized = _resized(evidence)
    explained = evidence.family("library", "workers", "isa", "config", "code")
    quiet = evidence.twins_agree and not evidence.differs(Stage.RNG) and evidence.size != "ulp" and not explained
    if not resized and not quiet:
        return []
    lines = [*resized, describe(evidence)]
    if not resized:
        lines.append("order and random state agree, twins agree, and no library differs: the stored data must")
    return [finding(evidence, "data-content", lines, FIX)]


def _resized(evidence: Evidence) -> list[str]:
    """Files opened by both up to the root's step, under one name with another size."""
    sizes: list[dict[str, int]] = [{}, {}]
    for side, reader in zip(sizes, (evidence.pair.left, evidence.pair.right), strict=True):
        key = StreamKey(evidence.root.rank, Stage.FILES, Phase.TRAIN)
        if key not in reader.streams():
            continue
        for step in {0, evidence.root.step}:
            for record in reader.records(key, step):
                name, size = record.evidence.get("file"), record.evidence.get("bytes")
                if isinstance(name, str) and isinstance(size, int):
                    side[name] = size
    other = [n for n in sizes[0] if n in sizes[1] and sizes[0][n] != sizes[1][n]]
    lines = [f"{n}: {sizes[0][n]} bytes against {sizes[1][n]}" for n in other[:FILES_SHOWN]]
    if len(other) > FILES_SHOWN:
        lines.append(f"and {len(other) - FILES_SHOWN} more files of another size")
    return lines
