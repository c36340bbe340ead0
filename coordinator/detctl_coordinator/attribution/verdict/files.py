"""The data files of the verdict that differ between two runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.observed.read_files import ReadFile, ReadFiles, compare_files, read_files
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.verdict import FileDifference

FILES_MAX = 64


def files_of(case: Case) -> list[FileDifference]:
    """Returns the files in which compared runs differ that were read, each once."""
    found: dict[tuple[str, str], FileDifference] = {}
    for pair in case.compared:
        if pair.different:
            for file in _between(case, pair.left, pair.right):
                found.setdefault((file.kind, file.name), file)
    return list(found.values())[:FILES_MAX]


def _between(case: Case, left: RunReader, right: RunReader) -> Iterator[FileDifference]:
    ours, theirs = (read_files(case.facts(reader).manifest) for reader in (left, right))
    compared = compare_files(ours, theirs)
    runs = [case.label(left), case.label(right)]
    for a, b in compared.changed:
        yield FileDifference(
            name=a.name, kind="content", runs=runs, bytes=[a.bytes, b.bytes], digests=[a.digest, b.digest],
            paths=[_path(ours, a), _path(theirs, b)],
        )  # fmt: skip
    for name, other in compared.renamed:
        yield FileDifference(name=name, kind="moved", runs=runs, other_name=other)
    for file, one in [(file, 0) for file in compared.only_left] + [(file, 1) for file in compared.only_right]:
        sides: list[int | None] = [None, None]
        sides[one] = file.bytes
        yield FileDifference(name=file.name, kind="one-sided", runs=runs, bytes=sides)


def _path(files: ReadFiles, file: ReadFile) -> str:
    """Returns where a file was on its machine; empty if its place is unknown."""
    place, _, below = file.name.removeprefix("{").partition("}")
    base = files.paths.get(place)
    return f"{base.rstrip('/')}/{below.lstrip('/')}" if base and file.name.startswith("{") else ""
