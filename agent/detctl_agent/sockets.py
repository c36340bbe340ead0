"""Short private places for sockets: a Unix socket's path may have about 107 bytes, and run folders lie deep."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path

from detctl_agent.errors import AgentError

SOCKET_PATH_BYTES_MAX = 107


def runtime_roots() -> list[Path]:
    """Where this user's sockets may lie, best first: `$XDG_RUNTIME_DIR/detctl`, `/tmp/detctl-<uid>`."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(given) / "detctl"] if given.startswith("/") and len(given) < 60 and Path(given).is_dir() else []
    return [*candidates, Path(f"/tmp/detctl-{os.getuid()}")]


def runtime_root() -> Path:
    """The first of runtime_roots that is ours; made with mode 0700. Raises AgentError where none is."""
    problem = ""
    for folder in runtime_roots():
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
        except OSError as error:
            problem = f"{folder}: {error.strerror}"
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return folder
        problem = f"{folder} belongs to somebody else or is open to others: remove it, or chmod 700 it"
    raise AgentError(f"no private folder for sockets: {problem}")


class RuntimeFolder:
    """`<root>/<8 hex>/` of one run: its socket `s`, and `tmp`, a short name for the run's private TMPDIR."""

    def __init__(self, tmp: Path | None = None, root: Path | None = None) -> None:
        """root: a short folder that this process and the training both see; None: one of this user's own."""
        root = root or runtime_root()
        while True:
            self.path = root / secrets.token_hex(4)
            try:
                self.path.mkdir(mode=0o700)
                break
            except FileExistsError:
                continue
        self.socket = self.path / "s"
        if len(os.fsencode(self.socket)) > SOCKET_PATH_BYTES_MAX:
            raise AgentError(f"{self.socket} is too long for a Unix socket: set XDG_RUNTIME_DIR to a shorter folder")
        self.tmp = self.path / "tmp"
        if tmp is not None:
            self.tmp.symlink_to(tmp, target_is_directory=True)

    def remove(self) -> None:
        """Removes it; the real TMPDIR behind the name stays."""
        self.tmp.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
