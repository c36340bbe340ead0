"""Short private places for sockets: a Unix socket's path may have about 107 bytes, and run folders lie deep."""

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
    """Where this user's sockets may lie, best first: `$XDG_RUNTIME_DIR/detctl`, `/tmp/detctl-<uid>`."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(given) / "detctl"] if given.startswith("/") and len(given) < 60 and Path(given).is_dir() else []
    return [*candidates, Path(f"/tmp/detctl-{os.getuid()}")]


def runtime_root(account: Account | None = None) -> Path:
    """The first of runtime_roots that is ours; made with mode 0700. Raises AgentError where none is.

    account: trainings run as this user, so everybody may pass through (0711), and a folder counts where it can be reached."""
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
        problem = f"{folder} belongs to somebody else or is open to others: remove it, or chmod 700 it"
    raise AgentError(f"no private folder for sockets: {problem}")


class RuntimeFolder:
    """`<root>/<8 hex>/` of one run: its socket `s`, and `tmp`, a short name for the run's private TMPDIR."""

    def __init__(self, tmp: Path | None = None, root: Path | None = None, account: Account | None = None) -> None:
        """root: a short folder that this process and the training both see; None: one of this user's own. account: the training's
        user, where it is another."""
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
            self.path.chmod(0o711)  # the socket itself is the training's; nothing else can be made or renamed in here

    def remove(self) -> None:
        """Removes it; the real TMPDIR behind the name stays."""
        self.tmp.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
