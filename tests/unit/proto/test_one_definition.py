"""What both sides must agree on is written once, in detctl_proto: a copy in another package fails here.

The test reads the sources: a regular expression, a set or tuple of words, or a text of the contract that stands in another package again
is a copy, and copies drift. The probe is left out: it runs in the user's process and imports nothing of the contract, so other tests
hold it equal (test_stages.py, test_interventions.py).
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import detctl_agent
import detctl_cli
import detctl_coordinator
import detctl_proto
import pytest
from detctl_proto import limits

ITEMS_MIN = 3  # of a collection that is a list of the contract's own
PATTERN_CHARACTERS_MIN = 8
SHARED_PATHS = (detctl_agent, detctl_coordinator, detctl_cli)


@cache
def contract_modules() -> list[str]:
    modules = pkgutil.walk_packages(detctl_proto.__path__, "detctl_proto.")
    return [module.name for module in modules if not module.name.startswith("detctl_proto.v1")]


def sources(package: object) -> Iterator[Path]:
    yield from sorted(Path(package.__file__).parent.rglob("*.py"))  # type: ignore[attr-defined]


@cache
def contract_patterns() -> dict[str, str]:
    """The text of each regular expression of the contract, with where it is."""
    found = {}
    for name in contract_modules():
        for key, value in vars(importlib.import_module(name)).items():
            if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                found[value.pattern] = f"{name}.{key}"
            elif key.endswith("_PATTERN") and isinstance(value, str):
                found[value] = f"{name}.{key}"
    return {text: where for text, where in found.items() if len(text) >= PATTERN_CHARACTERS_MIN}


@cache
def contract_collections() -> dict[frozenset[str], str]:
    """The words of each tuple, set and mapping of the contract, with where it is."""
    found = {}
    for name in contract_modules():
        for key, value in vars(importlib.import_module(name)).items():
            if isinstance(value, (tuple, frozenset, dict)) and not key.startswith("__"):
                items = frozenset(item for item in value if isinstance(item, str))
                if len(items) >= ITEMS_MIN and len(items) == len(value):
                    found[items] = f"{name}.{key}"
    return found


@cache
def contract_texts() -> dict[str, str]:
    """Schemas, keys and addresses of the contract, with where they are."""
    found = {}
    for name in contract_modules():
        for key, value in vars(importlib.import_module(name)).items():
            if key.endswith(("_SCHEMA", "_KEY", "_ADDRESS", "MAGIC")) and isinstance(value, (str, bytes)):
                found[value] = f"{name}.{key}"
    return found  # type: ignore[return-value]


@cache
def limit_names() -> set[str]:
    return {name for name in vars(limits) if name.isupper()}


def literals(tree: ast.AST) -> Iterator[tuple[int, str | bytes]]:
    """Every string and bytes literal outside docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and _is_text(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and id(node) not in docstrings:
            yield node.lineno, node.value


def _is_text(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(node.body) and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)


def collections(tree: ast.AST) -> Iterator[tuple[int, frozenset[str]]]:
    """The words of every tuple, list and set literal. The keys of a dict may be the contract's: it gives each word a meaning."""
    for node in ast.walk(tree):
        items = getattr(node, "elts", ())
        texts = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        if len(texts) == len(items) >= ITEMS_MIN:
            yield node.lineno, frozenset(texts)


def copies(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    patterns, texts, lists = contract_patterns(), contract_texts(), contract_collections()
    for line, text in literals(tree):
        if text in texts:
            yield f"{path}:{line}: {text!r} is {texts[text]}"
        for pattern, where in patterns.items():
            if isinstance(text, str) and pattern in text:
                yield f"{path}:{line}: the regular expression is {where}"
    for line, items in collections(tree):
        if items in lists:
            yield f"{path}:{line}: {sorted(items)} are {lists[items]}"
    for node in tree.body:
        if isinstance(node, ast.Assign) and (names := {ast.unparse(target) for target in node.targets} & limit_names()):
            yield f"{path}:{node.lineno}: {names} is in detctl_proto.limits"


@pytest.mark.parametrize("package", SHARED_PATHS, ids=lambda package: package.__name__)
def test_the_contract_is_not_copied(package: object) -> None:
    assert [copy for path in sources(package) for copy in copies(path)] == []


def test_a_copy_is_found(tmp_path: Path) -> None:
    path = tmp_path / "copied.py"
    path.write_text(
        'import re\nNAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")\nLEVELS = ["step", "module", "op"]\nSCHEMA = "detctl.run/v1"\n'
        "TWINS_MAX = 99\n"
    )
    assert len(list(copies(path))) == 4


def test_the_contract_imports_the_standard_library_and_protobuf_alone() -> None:
    allowed = {*sys.stdlib_module_names, "detctl_proto", "google", "grpc"}
    for path in sources(detctl_proto):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed, path
