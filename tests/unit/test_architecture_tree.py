"""docs/architecture.md prints the folders of our packages: the tree is that of the disk, and no folder is crowded.

`python tests/unit/test_architecture_tree.py` prints the tree for the page. A folder that the page describes keeps its description;
a new folder gets the first line of its docstring.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
SOURCE_ROOTS = ("proto", "agent", "coordinator", "cli")
DEPTH = 2  # below a package
ENTRIES_MAX = 16
# Folders that are still being sorted into smaller ones; the set ends empty.
CROWDED: frozenset[str] = frozenset()
GENERATED = ROOT / "proto" / "detctl_proto" / "v1"
# A folder and its description: `    detctl_agent/            The agent …`. Four spaces make the block, two more each level.
LINE = re.compile(r"^    ((?:  )*)([a-z0-9_]+)/(?: +(.*))?$")
FILE = re.compile(r"`([a-z_]+(?:/[\w.-]+)+\.(?:py|proto|sh|json))`")


def packages() -> list[Path]:
    """Every package of the four source roots."""
    return [init.parent for root in SOURCE_ROOTS for init in sorted((ROOT / root).glob("detctl_*/__init__.py"))]


def subfolders(folder: Path) -> list[Path]:
    """The folders right below one that hold code."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.py")))


def folders() -> list[Path]:
    """Every folder that the page must list, in the order of the page."""

    def below(folder: Path, depth: int) -> list[Path]:
        inner = [found for sub in subfolders(folder) for found in below(sub, depth - 1)] if depth else []
        return [folder, *inner]

    return [folder for package in packages() for folder in below(package, DEPTH)]


def level(folder: Path) -> int:
    """How deep a folder lies below its source root; a package has 0."""
    return len(folder.relative_to(ROOT).parts) - 2


def documented() -> dict[str, str]:
    """Each folder of the page's tree, as `agent/detctl_agent/state`, with its description."""
    found: dict[str, str] = {}
    parents: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if match := LINE.match(line):
            indent, name, description = match.groups()
            parents = [*parents[: len(indent) // 2], name]
            found["/".join(parents)] = description or ""
    return found


def tree() -> str:
    """Returns the tree as the page should print it."""
    known = documented()
    lines = []
    for folder in folders():
        path = "/".join(folder.relative_to(ROOT).parts[1:])
        name = f"{'  ' * level(folder)}{folder.name}/"
        lines.append(f"    {name:<22} {known.get(path) or _first_line_of_docstring(folder)}".rstrip())
    return "\n".join(lines)


def _first_line_of_docstring(folder: Path) -> str:
    init = folder / "__init__.py"
    docstring = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) if init.is_file() else None
    return (docstring or "").partition("\n")[0]


def test_the_page_prints_the_folders_that_exist() -> None:
    expected = ["/".join(folder.relative_to(ROOT).parts[1:]) for folder in folders()]
    assert list(documented()) == expected, f"the tree of {PAGE.name} should be:\n{tree()}"


def test_every_folder_of_the_page_has_a_description() -> None:
    assert [folder for folder, description in documented().items() if not description] == []


def test_the_files_that_the_page_names_exist() -> None:
    """A path starts at the repository or at a package."""
    named = set(FILE.findall(PAGE.read_text(encoding="utf-8")))
    places = [ROOT, *(ROOT / root for root in SOURCE_ROOTS), *packages()]
    assert len(named) > 20
    assert sorted(name for name in named if not any((place / name).is_file() for place in places)) == []


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)
def test_no_folder_of_a_package_is_crowded(package: Path) -> None:
    inside = [package, *(path for path in package.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    crowded = {str(path.relative_to(ROOT)): len(entries(path)) for path in inside if path != GENERATED}
    assert {path: count for path, count in crowded.items() if count > ENTRIES_MAX and path not in CROWDED} == {}


def entries(folder: Path) -> list[str]:
    """Files and folders of one folder, without `__init__.py` and what a build leaves there."""
    return [p.name for p in folder.iterdir() if not p.name.startswith(("__", ".")) and p.suffix not in {".so", ".pyc"}]


if __name__ == "__main__":
    print(tree())
