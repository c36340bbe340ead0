"""Short private folders for sockets: the path of a Unix socket may have about 107 bytes, and paths of run folders are long."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path

from detctl_proto.limits import SOCKET_PATH_BYTES_MAX

from detctl_agent.errors import AgentError
from detctl_agent.launcher.account import Account


def runtime_roots() -> list[Path]:
    """Folders for this user's sockets, best first: `$XDG_RUNTIME_DIR/detctl`, `/tmp/detctl-<uid>`."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(given) / "detctl"] if given.startswith("/") and len(given) < 60 and Path(given).is_dir() else []
    return [*candidates, Path(f"/tmp/detctl-{os.getuid()}")]


def runtime_root(account: Account | None = None) -> Path:
    """The first of runtime_roots that belongs to this user; made with mode 0700. Raises AgentError if there is none.

    account: trainings run as this user, so the folder lets everybody pass through (0711), and it must be reachable."""
    problem = ""
    for folder in runtime_roots():
        if account and not all(above.stat().st_mode & stat.S_IXOTH for above in folder.parents):
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
        except OSError as error:
            problem = f"{folder}: {error.strerror}"
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o066:
            if account:
                folder.chmod(0o711)
            return folder
        problem = f"{folder} belongs to another user or is open to others: remove it, or run chmod 700 on it"
    raise AgentError(f"no private folder for sockets: {problem}")


class RuntimeFolder:
    """`<root>/<8 hex>/` of one run: its socket `s`, and `tmp`, a short path of the run's private TMPDIR."""

    def __init__(self, tmp: Path | None = None, root: Path | None = None, account: Account | None = None) -> None:
        """root: a short folder that this process and the training both see; None: one of this user's own. account: the training's
        user, if it is another."""
        root = root or runtime_root(account)
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
        if account:
            self.path.chmod(
                0o711
            )  # the socket belongs to the training, which cannot make or rename anything else in here

    def remove(self) -> None:
        """Removes the folder; the real TMPDIR stays."""
        self.tmp.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
