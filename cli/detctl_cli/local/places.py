"""Where local data lies: ./.detctl, or local scratch where the folder is on a network or cannot be written."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from detctl_proto.file_systems import NETWORK_FILE_SYSTEMS, file_system_of, mount_table
from detctl_proto.private_files import make_private_folder

from detctl_cli.errors import CliError

LOCK_WAIT_S = 5.0  # children of a killed command may need a moment to end


def data_folder(cwd: Path, environ: Mapping[str, str] | None = None, mountinfo: str | None = None) -> tuple[Path, str]:
    """(folder for local data, why it is not ./.detctl or empty). Nothing is made."""
    here = cwd / ".detctl"
    kind = file_system_of(cwd.resolve(), mount_table() if mountinfo is None else mountinfo)
    if kind in NETWORK_FILE_SYSTEMS:
        return _scratch(cwd, environ), f"{cwd} is on a network file system ({kind})"
    if not os.access(here if here.exists() else cwd, os.W_OK):
        return _scratch(cwd, environ), f"{cwd} cannot be written"
    return here, ""


def prepare(folder: Path) -> None:
    """Makes the folder and its logs, private, ignored by git. Raises CliError."""
    try:
        make_private_folder(folder)
        make_private_folder(folder / "logs")
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="ascii")
    except OSError as problem:
        raise CliError("system", f"cannot make {folder}: {problem.strerror or problem}") from None


@contextmanager
def locked(folder: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[int]:
    """Holds the folder's lock and yields its descriptor. Who inherits it holds the lock too. Raises CliError."""
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
                        "busy", f"another detctl works in {folder} (pid {holder})", "wait for it, or stop it"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def socket_folder(environ: Mapping[str, str] | None = None) -> Iterator[Path]:
    """A private folder with a short path for Unix sockets (their limit is about 107 bytes); removed afterwards."""
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
