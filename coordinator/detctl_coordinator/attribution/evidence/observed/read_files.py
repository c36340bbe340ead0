"""Compares the data files that two runs read, by the digests of their content (section `opened` of a manifest).

agent/detctl_agent/runs/inspection/opened_section.py describes the section. A file without a digest on both sides was not measured, which
leaves its content open. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detctl_coordinator.attribution.evidence.facts import place

# Files with options: config-drift names them.
THE_COMMAND = "the command"
SETTINGS = (".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".env")
# A JSON file holds data more often than options, unless its name shows them.
SETTINGS_NAMES = re.compile(
    r"(^|[/_.-])(config|conf|configuration|settings?|hparams?|hyper_?parameters?|params|args|arguments|options|opts)([_.-]|\.json$)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ReadFile:
    """A file of one run. digest: empty if it was not measured. listed: its folder was listed, but the probe did not see who opened it.
    named: `file:line` of the source, or `the command`, that names a file whose opening the probe did not see."""

    name: str
    bytes: int
    digest: str
    listed: bool = False
    named: str = ""

    @property
    def unseen(self) -> bool:
        """Whether the probe did not see it opened."""
        return self.listed or bool(self.named)


@dataclass(frozen=True)
class ReadFiles:
    """The files that one run read. paths: place -> where it is on the run's machine. unmeasured: reason -> number of files."""

    known: bool = False
    files: Mapping[str, ReadFile] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    unmeasured: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FilesCompared:
    """changed: files with one name and other content. renamed: content that another name had, as (left name, right name).
    named: files with other content that the program names, and whose opening the probe did not see. They do not count among the others.
    equal: number of files with equal content. unmeasured: number of files of both runs that were not measured on both sides."""

    known: bool = False
    changed: tuple[tuple[ReadFile, ReadFile], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    only_left: tuple[ReadFile, ...] = ()
    only_right: tuple[ReadFile, ...] = ()
    named: tuple[tuple[ReadFile, ReadFile], ...] = ()
    equal: int = 0
    unmeasured: int = 0

    @property
    def all_equal(self) -> bool:
        """Whether all files that were read are known to be equal in both runs, and there are some."""
        return self.equal > 0 and not (
            self.changed or self.renamed or self.only_left or self.only_right or self.unmeasured
        )

    @property
    def summary(self) -> str:
        """A line about files that do not differ, as far as they were measured; empty if none was."""
        if self.all_equal:
            return f"All {self.equal} files that both runs read are equal, so what decodes or combines them differs."
        if self.equal and not self.changed:
            return f"{self.equal} files that both runs read are equal; {self.unmeasured} were not measured."
        return ""

    @property
    def data(self) -> tuple[tuple[ReadFile, ReadFile], ...]:
        """The changed files without those that hold options."""
        return tuple(pair for pair in self.changed if not holds_settings(pair[0].name))


def holds_settings(name: str) -> bool:
    """Returns whether a file holds options, by its name."""
    return name.endswith(SETTINGS) or (name.endswith(".json") and SETTINGS_NAMES.search(name) is not None)


def read_files(manifest: Mapping[str, Any]) -> ReadFiles:
    """Returns the section of a manifest."""
    section = manifest.get("opened")
    if not isinstance(section, Mapping) or not isinstance(section.get("files"), Mapping):
        return ReadFiles()
    files = {}
    for name, row in section["files"].items():
        size, digest = (row.get("bytes"), row.get("digest")) if isinstance(row, Mapping) else (None, None)
        if isinstance(size, int):
            by = row.get("named")
            files[str(name)] = ReadFile(
                str(name),
                size,
                digest if isinstance(digest, str) else "",
                row.get("listed") is True,
                (place(by) or THE_COMMAND) if isinstance(by, Mapping) else "",
            )
    return ReadFiles(True, files, _mapping(section.get("paths"), str), _mapping(section.get("unmeasured"), int))


def compare_files(left: ReadFiles, right: ReadFiles) -> FilesCompared:
    """Returns how the files of two runs differ."""
    if not (left.known and right.known):
        return FilesCompared()
    shared = [(file, right.files[name]) for name, file in left.files.items() if name in right.files]
    named = [(a, b) for a, b in shared if a.named or b.named]
    both = [pair for pair in shared if pair not in named]
    measured = [(a, b) for a, b in both if a.digest and b.digest]
    changed = [(a, b) for a, b in measured if a.digest != b.digest]
    sizes = [(a, b) for a, b in both if not (a.digest and b.digest) and a.bytes != b.bytes]
    contents: dict[str, list[str]] = {}
    for file in right.files.values():
        if file.digest and not file.named:
            contents.setdefault(file.digest, []).append(file.name)
    renamed = []
    for a in left.files.values():
        if a.named:
            continue
        other = right.files.get(a.name)
        elsewhere = [name for name in contents.get(a.digest, ()) if name != a.name] if a.digest else []
        if elsewhere and (other is None or (other.digest and other.digest != a.digest)):
            renamed.append((a.name, elsewhere[0]))
    return FilesCompared(
        known=True,
        changed=(*changed, *sizes),
        renamed=tuple(renamed),
        only_left=tuple(file for name, file in left.files.items() if name not in right.files and not file.unseen),
        only_right=tuple(file for name, file in right.files.items() if name not in left.files and not file.unseen),
        named=tuple(
            (a, b) for a, b in named if a.digest and b.digest and a.digest != b.digest and not holds_settings(a.name)
        ),
        equal=len(measured) - len(changed),
        unmeasured=len(both)
        - len(measured)
        - len(sizes)
        + left.unmeasured.get("count", 0)
        + right.unmeasured.get("count", 0),
    )


def _mapping(value: object, kind: type) -> dict[str, Any]:
    return {str(k): v for k, v in value.items() if isinstance(v, kind)} if isinstance(value, Mapping) else {}
