"""Ownership of a run's folder if its training runs as another user than the agent.

work home tmp out cache   the training's, nobody else's
probe                     the agent's; the training reads it
given                     the agent's; the training's group reads it
everything else           the agent's alone (spool, run.json, manifest.json, stdout, stderr)
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from detctl_agent.launcher.account import Account
from detctl_agent.state.run_folder import RunFolder, disk_error


def give(folder: RunFolder, account: Account) -> None:
    """Gives the training its folders, before it starts and after everything is in place. Raises AgentError."""
    try:
        for private in (folder.work, folder.home, folder.tmp, folder.out, folder.caches):
            _own(private, account.uid, account.gid)
        _readable(folder.probe, 0o755, 0o644)
        if folder.given.is_dir():
            _own(folder.given, -1, account.gid)
            _readable(folder.given, 0o750, 0o640)
        os.chown(folder.root, -1, account.gid)
        folder.root.chmod(0o710)
    except OSError as error:
        raise disk_error(error, folder.root) from error


def take_back(folder: RunFolder) -> None:
    """Takes the folders of an ended run back, so that a later run of the same user cannot read them."""
    folder.root.chmod(0o700)


def _own(top: Path, uid: int, gid: int) -> None:
    """Changes the owner of a whole tree, its top last: until then nobody else can enter, and nothing can be exchanged for a link."""
    if not top.is_dir():
        return  # a run in place has no copy
    for _, folders, files, descriptor in os.fwalk(top, topdown=False):
        for name in (*folders, *files):
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(top, uid, gid)


def _readable(top: Path, folder_mode: int, file_mode: int) -> None:
    for _, folders, files, descriptor in os.fwalk(top):
        for name in folders:
            os.chmod(name, folder_mode, dir_fd=descriptor)
        for name in files:
            if stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                os.chmod(name, file_mode, dir_fd=descriptor)
    top.chmod(folder_mode)
