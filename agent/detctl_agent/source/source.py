"""Digests the recipe's folder, and copies it for a run that gets no private view of it (docs/adr/0024, docs/adr/0041)."""

# Paths as text: neither links nor a venv's interpreter may be resolved.
# ruff: noqa: PTH100, PTH115, PTH117, PTH118, PTH120

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from detctl_agent.errors import SourceError
from detctl_agent.source.copying import copy_content
from detctl_agent.source.source_set import git_commit, source_paths
from detctl_agent.state.run_folder import disk_error

DEFAULT_BYTES_MAX = 512 * 1024 * 1024
HASHED_BYTES_MAX = 512 * 1024 * 1024
FILES_MAX = 100_000


@dataclass(frozen=True)
class Source:
    """The files of a folder at one moment. digest: hex of SHA-256 over path, mode bit x and content of each."""

    folder: Path
    digest: str
    paths: tuple[str, ...]
    bytes: int
    git_commit: str


# For a recipe whose files are known only once a run names its commit.
NOT_YET = Source(Path(), "", (), 0, "")


def scan(folder: Path, bytes_max: int | None = DEFAULT_BYTES_MAX) -> Source:
    """Reads the set and its digest. Raises SourceError if the folder is gone, unreadable or too large.

    bytes_max None: any size will do. A file counts by its size alone if it and those before it exceed HASHED_BYTES_MAX: it is
    data, and two machines that hold it get the same digest."""
    paths = _checked_paths(folder, limited=bytes_max is not None)
    total = hashlib.sha256()
    size = 0
    for path in paths:
        name = os.fsencode(path)
        try:
            kind, content, length = _content(folder, path, HASHED_BYTES_MAX - size)
        except FileNotFoundError:
            continue  # removed between listing and reading: the next scan does not see it
        except OSError as error:
            raise SourceError(f"cannot read {folder / path}: {error.strerror}") from error
        size += length
        if bytes_max is not None and size > bytes_max:
            raise SourceError(
                f"{folder} holds more than {bytes_max // (1024 * 1024)} MiB: keep data elsewhere and name it in `paths`, "
                "ignore it in .gitignore, or set source_mb_max in the recipe"
            )
        total.update(b"%d %s\0%s %s\n" % (len(name), name, kind, content))
    return Source(folder, total.hexdigest(), tuple(paths), size, git_commit(folder))


def signature(folder: Path, *, limited: bool = True) -> str:
    """A cheap text that changes when a file of the set may have changed. Raises SourceError if the folder is gone."""
    total = hashlib.sha256()
    for path in _checked_paths(folder, limited=limited):
        try:
            found = (folder / path).lstat()
        except OSError:
            continue
        total.update(
            b"%s\0%d %d %d %d\n" % (os.fsencode(path), found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino)
        )
    return total.hexdigest()


def changes(before: Source) -> str:
    """One line that names what changed in the folder since `before`, because a run should not write there; empty if nothing did."""
    try:
        if scan(before.folder, None).digest == before.digest:
            return ""
        names = sorted(set(before.paths) ^ set(_checked_paths(before.folder, limited=False)))
    except SourceError as error:
        return f"the source folder changed while it ran: {error}"
    listed = f" ({', '.join(names[:3])}{' …' if len(names) > 3 else ''})" if names else ""
    return f"the source folder {before.folder} changed while it ran{listed}: write to the working folder or {{out}} instead"


def copy(source: Source, target: Path) -> None:
    """Copies the set to a new folder (0700). Raises SourceError, or DiskFullError."""
    try:
        target.mkdir(mode=0o700, parents=True)
        made = {target}
        for path in source.paths:
            origin, place = source.folder / path, target / path
            if place.parent not in made:
                place.parent.mkdir(parents=True, exist_ok=True)
                made.add(place.parent)
            if not os.path.lexists(origin):
                continue
            if origin.is_symlink():
                place.symlink_to(_link_target(source.folder, path))
            else:
                copy_content(origin, place)
                # Programs that compare times (make, caches of bytecode) see those of the original.
                shutil.copystat(origin, place)
                place.chmod(0o700 if origin.stat().st_mode & stat.S_IXUSR else 0o600)
    except OSError as error:
        raise disk_error(error, target.parent) from error


def snapshot(source: Source, place: Path) -> Source:
    """The same set, copied to `place`, which is emptied first. Raises SourceError if it changed meanwhile, or DiskFullError."""
    shutil.rmtree(place, ignore_errors=True)
    copy(source, place)
    if scan(source.folder, None).digest != source.digest:
        raise SourceError(f"{source.folder} changed while it was copied: looking again")
    return replace(source, folder=place)


def _checked_paths(folder: Path, *, limited: bool = True) -> list[str]:
    if not folder.is_dir():
        raise SourceError(f"the folder {folder} does not exist: correct `folder` in the catalog, or put it back")
    try:
        paths = source_paths(folder)
    except OSError as error:
        raise SourceError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    if limited and len(paths) > FILES_MAX:
        raise SourceError(
            f"{folder} holds more than {FILES_MAX} files: keep data elsewhere, or ignore it in .gitignore"
        )
    return paths


def _content(folder: Path, path: str, hashed_max: int) -> tuple[bytes, bytes, int]:
    """(kind, digest or size, bytes) of a file; its digest only if it has at most `hashed_max` bytes."""
    whole = folder / path
    if whole.is_symlink():
        return b"link", os.fsencode(_inner_link(folder, path) or "outside"), 0
    with open(whole, "rb") as stream:
        found = os.fstat(stream.fileno())
        executable = found.st_mode & stat.S_IXUSR
        if found.st_size > hashed_max:
            return b"size", b"%d" % found.st_size, found.st_size
        digest = hashlib.file_digest(stream, "sha256")
        return (b"x" if executable else b"-"), digest.digest(), stream.tell()


def _inner_link(folder: Path, path: str) -> str:
    """The text of a relative link that stays inside the folder, else empty: the targets of other links do not belong to the source."""
    text = os.readlink(folder / path)
    inside = os.path.normpath(os.path.join(os.path.dirname(path), text))
    return "" if os.path.isabs(text) or inside.split("/")[0] == ".." else text


def _link_target(folder: Path, path: str) -> str:
    """The target of the link in the copy: the same if it stays inside the folder, else the absolute place."""
    whole = folder / path
    return _inner_link(folder, path) or os.path.abspath(os.path.join(whole.parent, os.readlink(whole)))
