"""Folders of local data: ./.detctl, or local scratch if that is on a network or cannot be written."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from detctl_proto.files.file_systems import NETWORK_FILE_SYSTEMS, file_system_of, mount_table
from detctl_proto.files.private_files import make_private_folder

from detctl_cli.errors import CliError

STORE = "store.sqlite"
LOCK_WAIT_S = 5.0  # children of a killed command may need a moment to exit


def data_folder(cwd: Path, environ: Mapping[str, str] | None = None, mountinfo: str | None = None) -> tuple[Path, str]:
    """Returns the folder for local data, and the reason if it is not ./.detctl. Creates nothing."""
    here = cwd / ".detctl"
    kind = file_system_of(cwd.resolve(), mount_table() if mountinfo is None else mountinfo)
    if kind in NETWORK_FILE_SYSTEMS:
        return _scratch(cwd, environ), f"{cwd} is on a network file system ({kind})"
    if not os.access(here if here.exists() else cwd, os.W_OK):
        return _scratch(cwd, environ), f"{cwd} is not writable"
    return here, ""


def audit_runs(audit_id: str) -> Path:
    """Returns the start of the paths of a local audit's run folders: `.detctl/agent/runs/a1b2c3d4e5f`."""
    folder = data_folder(Path.cwd())[0] / "agent" / "runs" / audit_id
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def find_data_folder(
    cwd: Path, environ: Mapping[str, str] | None = None, mountinfo: str | None = None
) -> tuple[Path, Path] | None:
    """Returns (the data of this folder or of the nearest one above it, the folder that it belongs to). None: there is none.

    A folder above that belongs to another user is passed over: its owner could place data of any kind there.
    """
    mountinfo = mount_table() if mountinfo is None else mountinfo
    for place in (cwd, *cwd.parents):
        folder, _ = data_folder(place, environ, mountinfo)
        with suppress(OSError):
            if (folder / STORE).exists() and (place == cwd or folder.stat().st_uid == os.getuid()):
                return folder, place
    return None


def prepare(folder: Path) -> None:
    """Creates the folder and its logs, private and ignored by git. Raises CliError."""
    try:
        make_private_folder(folder)
        make_private_folder(folder / "logs")
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="ascii")
    except OSError as problem:
        raise CliError(
            "system",
            f"{folder} cannot be created: {problem.strerror or problem}",
            "set DETCTL_SCRATCH to a folder that you can write",
        ) from None


def refuse_full(folder: Path | None) -> None:
    """Raises CliError if the folder for a result exists and is not empty. None: no folder is named."""
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CliError(
            "exists", f"{folder} exists and is not empty", "choose another folder with -o; nothing was overwritten"
        )


@contextmanager
def locked(folder: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[int]:
    """Holds the folder's lock and yields its descriptor. A process that inherits it holds the lock too. Raises CliError."""
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    raise CliError(
                        "busy", f"another detctl uses {folder} (process {holder})", "wait until it ends, or stop it"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def holder_of(folder: Path) -> str:
    """Returns the process id that the lock's holder wrote, `unknown`, or an empty text if nobody holds the lock."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return ""


@contextmanager
def socket_folder(environ: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Yields a private folder with a short path for Unix sockets, whose limit is about 107 bytes. Removes it afterwards."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_RUNTIME_DIR", "")
    parent = base if base and len(base) < 40 and os.access(base, os.W_OK) else None
    if parent is None and len(tempfile.gettempdir()) >= 60:
        parent = "/tmp"
    with tempfile.TemporaryDirectory(prefix="detctl-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _scratch(cwd: Path, environ: Mapping[str, str] | None) -> Path:
    environ = os.environ if environ is None else environ
    key = hashlib.sha256(os.fsencode(cwd.resolve())).hexdigest()[:16]
    base = environ.get("DETCTL_SCRATCH") or f"/var/tmp/detctl-{os.getuid()}"
    return Path(base) / key
