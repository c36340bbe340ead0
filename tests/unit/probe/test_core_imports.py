"""Post-import hooks keep importlib's manners."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from detctl_probe.process import imports


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package `watched_pkg` with a submodule; forgotten afterwards."""
    folder = tmp_path / "watched_pkg"
    folder.mkdir()
    (folder / "__init__.py").write_text("value = 1\nloader_seen = type(__spec__.loader).__name__\n")
    (folder / "inner.py").write_text("value = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = list(sys.meta_path)
    yield "watched_pkg"
    sys.meta_path[:] = before
    imports._finder = None
    for name in [name for name in sys.modules if name.startswith("watched_pkg")]:
        del sys.modules[name]


def test_the_callback_runs_once_after_the_module(package: str) -> None:
    seen: list[tuple[str, int]] = []
    imports.when_imported(package, lambda module: seen.append((module.__name__, module.value)))
    assert seen == []
    module = importlib.import_module(package)
    assert seen == [(package, 1)]
    importlib.reload(module)
    assert seen == [(package, 1)]


def test_a_module_that_is_there_is_reported_at_once(package: str) -> None:
    importlib.import_module(package)
    seen: list[ModuleType] = []
    imports.when_imported(package, seen.append)
    assert seen == [sys.modules[package]]


def test_submodules_and_finding_without_importing(package: str) -> None:
    seen: list[ModuleType] = []
    imports.when_imported(package + ".inner", seen.append)
    assert importlib.util.find_spec(package + ".inner") is not None
    assert seen == []
    importlib.import_module(package + ".inner")
    assert [module.__name__ for module in seen] == [package + ".inner"]


def test_the_module_looks_as_if_nobody_had_waited_for_it(package: str) -> None:
    imports.when_imported(package, lambda module: None)
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert type(spec.loader) is SourceFileLoader
    module = importlib.import_module(package)
    assert module.loader_seen == "SourceFileLoader"
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    assert type(module.__loader__) is SourceFileLoader
    assert "exec_module" not in vars(module.__loader__)
    assert inspect.getsource(module).startswith("value = 1")


def test_a_failing_import_fails_as_ever_and_may_be_tried_again(package: str, tmp_path: Path) -> None:
    source = tmp_path / package / "__init__.py"
    source.write_text("raise RuntimeError('mine')")
    seen: list[ModuleType] = []
    imports.when_imported(package, seen.append)
    with pytest.raises(RuntimeError, match="mine"):
        importlib.import_module(package)
    assert seen == []
    source.write_text("value = 3  # longer than before, so that no cached bytecode fits")
    importlib.invalidate_caches()
    importlib.import_module(package)
    assert [module.value for module in seen] == [3]


def test_a_missing_module_is_missing() -> None:
    imports.when_imported("watched_pkg_that_is_not", lambda module: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("watched_pkg_that_is_not")


def test_a_failing_callback_does_not_break_the_import(package: str, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(module: ModuleType) -> None:
        raise ValueError("callback")

    imports.when_imported(package, fail)
    assert importlib.import_module(package).value == 1
    assert capfd.readouterr().err == f"detctl: an observer failed after the import of {package}: ValueError: callback\n"


def test_imports_of_packages_are_surrounded_once_and_those_of_the_user_never(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "watched_pkg_a.py").write_text("import watched_pkg_b\n")
    (folder / "watched_pkg_b.py").write_text("value = 1\n")
    (folder / "watched_pkg_c.py").write_text("raise RuntimeError('mine')\n")
    monkeypatch.syspath_prepend(str(folder))
    seen: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        seen.append("before")
        yield
        seen.append("after")

    imports.around_packages(around)
    importlib.import_module(package)
    assert seen == []
    importlib.import_module("watched_pkg_a")
    assert seen == ["before", "after"]
    with pytest.raises(RuntimeError, match="mine"):
        importlib.import_module("watched_pkg_c")
    del sys.modules["watched_pkg_b"]
    importlib.import_module("watched_pkg_b")
    assert seen == ["before", "after", "before", "before", "after"]
