"""The syntax trees that observers share, and what names stand for in them."""

from __future__ import annotations

import ast
import linecache
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from detctl_probe import start
from detctl_probe.process import source_trees
from detctl_probe.process.source_trees import dotted, function_of, imported_names, resolved, tree_of

pytestmark = pytest.mark.usefixtures("fresh_sources")


def written(folder: Path, text: str, name: str = "train.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_file_is_parsed_once_until_its_tree_is_freed(tmp_path: Path) -> None:
    file = written(tmp_path, "x = 1\n")
    tree = tree_of(file)
    assert tree is not None and tree_of(file) is tree
    source_trees.forget()
    assert tree_of(file) is not tree


def test_trees_are_kept_through_the_first_step(tmp_path: Path) -> None:
    file = written(tmp_path, "x = 1\n")
    tree = tree_of(file)
    for step, kept in ((0, True), (1, False)):
        start._free_trees(SimpleNamespace(step=step))
        assert (tree_of(file) is tree) is kept


def test_two_files_of_the_same_text_have_two_trees(tmp_path: Path) -> None:
    one, other = written(tmp_path, "x = 1\n", "one.py"), written(tmp_path, "x = 1\n", "other.py")
    assert tree_of(one) is not tree_of(other)


def test_a_file_that_has_changed_is_parsed_again(tmp_path: Path) -> None:
    file = written(tmp_path, "x = 1\n")
    tree_of(file)
    written(tmp_path, "x = 1\ny = 2\n")
    linecache.checkcache(file)
    tree = tree_of(file)
    assert tree is not None and len(tree.body) == 2


@pytest.mark.parametrize("text", ["", "def (", "x = '\0'", "x = 1  # " + "-" * source_trees.CHARS_MAX])
def test_what_has_no_tree(tmp_path: Path, text: str) -> None:
    assert tree_of(written(tmp_path, text)) is None
    assert tree_of(str(tmp_path / "absent.py")) is None


def test_a_file_that_is_not_text_has_no_tree(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_bytes(b"x = '\xff\xfe'\n")
    assert tree_of(str(tmp_path / "train.py")) is None


def test_the_trees_that_are_kept_are_limited_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_trees, "CHARS_MAX", 20)
    first = written(tmp_path, "first = 1\n", "first.py")
    tree = tree_of(first)
    assert tree_of(written(tmp_path, "x = 1\n", "second.py")) is not None and tree_of(first) is tree
    assert tree_of(written(tmp_path, "third = 1\n", "third.py")) is not None and tree_of(first) is not tree


def test_the_probe_does_not_import_ast_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ast")
    assert tree_of(written(tmp_path, "x = 1\n")) is None and "ast" not in sys.modules


def test_the_definition_of_a_function_is_found_below_its_decorators(tmp_path: Path) -> None:
    text = "import functools\n\ndef f():\n    pass\n\n@functools.lru_cache(\n    None\n)\ndef f():\n    return 1\n"
    file = written(tmp_path, text)
    names: dict[str, object] = {}
    exec(compile(text, file, "exec"), names)
    function = function_of(tree_of(file), names["f"].__wrapped__.__code__)  # type: ignore[attr-defined]
    assert function is not None and function.lineno == 9
    assert function_of(tree_of(file), (lambda: 1).__code__) is None


@pytest.mark.parametrize(
    ("imports", "name", "meaning"),
    [
        ("import numpy as np", "np.random.rand", "numpy.random.rand"),
        ("import os.path", "os.getcwd", "os.getcwd"),
        ("import os.path as paths", "paths.join", "os.path.join"),
        ("from datetime import datetime as d", "d.now", "datetime.datetime.now"),
        ("def f():\n    from time import time", "time", "time.time"),
        ("from .time import time", "time", ".time.time"),
        ("from .. import clock", "clock.now", "..clock.now"),
        ("from time import *", "time", "time"),
        ("", "", ""),
    ],
)
def test_what_a_name_stands_for(imports: str, name: str, meaning: str) -> None:
    assert resolved(name, imported_names(ast.parse(imports))) == meaning


@pytest.mark.parametrize(
    ("text", "name"), [("a", "a"), ("a.b.c", "a.b.c"), ("a().b", ""), ("a[0].b", ""), ("'x'.join", "")]
)
def test_chains_of_names(text: str, name: str) -> None:
    assert dotted(ast.parse(text, mode="eval").body) == name
