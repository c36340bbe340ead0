"""What modules promise of their imports: a pure one reaches no I/O, and none imports itself by way of others."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest

PACKAGES = (
    "detctl_proto",
    "detctl_probe",
    "detctl_selfcheck",
    "detctl_checkpoints",
    "detctl_agent",
    "detctl_coordinator",
    "detctl_cli",
)
IO = ("grpc", "redis", "socket", "sqlite3", "subprocess")


def modules() -> dict[str, Path]:
    """Every module of our packages, by its dotted name."""
    found = {}
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None
        folder = Path(spec.origin).parent
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def calls_itself_pure(path: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.search(r"\bpure\b|\bno I/O\b", docstring, re.IGNORECASE) is not None


PURE = sorted(name for name, path in modules().items() if calls_itself_pure(path))


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, within functions and for types alone too."""
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def test_modules_that_call_themselves_pure_are_found() -> None:
    assert {"detctl_coordinator.scheduling.audit_lifecycle", "detctl_coordinator.attribution.verdict.judge"} < set(PURE)


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_reaches_no_io(graph: grimp.ImportGraph, module: str) -> None:
    for library in IO:
        chain = graph.find_shortest_chain(importer=module, imported=library) if library in graph.modules else None
        assert chain is None, " imports ".join(chain or ())


def test_the_check_follows_imports_of_imports(graph: grimp.ImportGraph) -> None:
    assert set(IO) <= graph.modules
    assert graph.find_shortest_chain(importer="detctl_coordinator.main", imported="sqlite3") is not None


def test_no_module_imports_itself_by_way_of_others(graph: grimp.ImportGraph) -> None:
    """import-linter looks at siblings; this also finds a package that imports a module which imports the package."""
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()
