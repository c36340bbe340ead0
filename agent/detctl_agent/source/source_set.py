"""Lists the files of a recipe's folder: what git tracks or does not ignore, or, without git, all but an exclude list."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

EXCLUDED_FOLDERS = frozenset(
    (
        ".git", ".hg", ".svn", "__pycache__", ".venv", "venv", "node_modules", ".mypy_cache", ".pytest_cache",
        ".ruff_cache", ".tox", ".nox", ".ipynb_checkpoints", ".detctl", ".cache", ".idea", ".vscode",
    )
)  # fmt: skip
EXCLUDED_SUFFIXES = (".pyc", ".pyo", ".swp", "~")
GIT_TIMEOUT_S = 30.0
HARDENED_GIT = (
    # A repository's own configuration may name programs to run: these options prevent that.
    "git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*",
)  # fmt: skip


def source_paths(folder: Path) -> list[str]:
    """Relative paths of the files (and symbolic links) of the set, sorted by their bytes; missing ones left out."""
    paths = _git_paths(folder)
    if not paths:
        paths = _walked_paths(folder, "")
    recorded: dict[str, bool] = {}
    kept = [path for path in paths if not _inside_recorded(folder, path, recorded)]
    return sorted(kept, key=os.fsencode)


def git_commit(folder: Path) -> str:
    """The commit that is checked out, with `+changes` if the folder differs from it; empty without git."""
    commit = _git(folder, "rev-parse", "HEAD").decode("ascii", "replace").strip()
    if not commit:
        return ""
    return commit + ("+changes" if _git(folder, "status", "--porcelain", "--", ".").strip() else "")


def _git_paths(folder: Path) -> list[str]:
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    paths: list[str] = []
    for raw in dict.fromkeys(listed.split(b"\0")):
        if not raw:
            continue
        path = os.fsdecode(raw)
        whole = folder / path
        if path.endswith(EXCLUDED_SUFFIXES) or any(part in EXCLUDED_FOLDERS for part in path.split("/")):
            continue
        if whole.is_symlink() or whole.is_file():
            paths.append(path)
        elif whole.is_dir():  # a submodule, or a repository inside: git lists only the folder
            paths += _walked_paths(folder, path.rstrip("/"))
    return paths


def _walked_paths(folder: Path, below: str) -> list[str]:
    found: list[str] = []
    waiting = [below]
    while waiting:
        current = waiting.pop()
        with os.scandir(folder / current) as entries:
            for entry in entries:
                path = f"{current}/{entry.name}" if current else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in EXCLUDED_FOLDERS:
                        waiting.append(path)
                elif (entry.is_symlink() or entry.is_file()) and not entry.name.endswith(EXCLUDED_SUFFIXES):
                    found.append(path)
    return found


def _inside_recorded(folder: Path, path: str, known: dict[str, bool]) -> bool:
    """Whether a file lies in a folder that `detctl record -o` made: results do not belong to the source."""
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        parent = "/".join(parts[:depth])
        if parent not in known:
            known[parent] = (folder / parent / "run.json").is_file() and (folder / parent / "spool").is_dir()
        if known[parent]:
            return True
    return False


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(
            [*HARDENED_GIT, "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=GIT_TIMEOUT_S,
            check=True,
            env={
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "HOME": "/nonexistent",
                "LANG": "C.UTF-8",
                "GIT_OPTIONAL_LOCKS": "0",
                "GIT_CONFIG_NOSYSTEM": "1",
            },
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return b""
