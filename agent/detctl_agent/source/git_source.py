"""Checks out commits of git remotes for recipes with a source: one mirror for each remote, one worktree for each commit.

The catalog names the remote, a request names the commit. A hosting service may hand out commits of anybody's fork of a
repository under the repository's own address, so a commit is accepted only if a branch or a tag of the remote contains it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

from detctl_proto.syntax.parameter_patterns import COMMIT_PATTERN

from detctl_agent.errors import RunRefusedError, SourceError
from detctl_agent.source.source_set import HARDENED_GIT
from detctl_agent.state.run_folder import disk_error

SCHEMES = ("https", "ssh", "file")
PARAMETER = "commit"  # of every recipe with a source; a request sets it
FETCH_TIMEOUT_S = 900.0
WORKTREES_MAX = 8  # for each remote; the oldest are removed first
# One fetch or checkout at a time: runs of one agent share its mirrors.
_lock = threading.Lock()
_SOURCE = re.compile(rf"git\+((?:{'|'.join(SCHEMES)})://[^\s\0]+)", re.ASCII)


def url_of(text: str) -> str:
    """The URL for git in `git+ssh://…`. Raises ValueError, in one line."""
    found = _SOURCE.fullmatch(text)
    if not found:
        listed = ", ".join(f"git+{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"{text!r} is not a source: a source begins with {listed}")
    url = found.group(1)
    if re.match(r"[a-z]+://[^/@]*:[^/@]*@", url):
        raise ValueError("holds a password: leave it to ssh keys or a credential helper of the agent's user")
    return url


def worktree(text: str, commit: str, root: Path) -> Path:
    """The folder of `commit` of the remote, checked out below `root`; fetched if necessary.

    Raises RunRefusedError for a commit that the remote's branches and tags do not contain, SourceError if git fails.
    """
    if not re.fullmatch(COMMIT_PATTERN, commit):
        raise RunRefusedError(
            f"this recipe trains a commit of {text}: name it with --set {PARAMETER}=<its 40 hex digits>"
        )
    url = url_of(text)
    place = root / hashlib.sha256(url.encode()).hexdigest()[:16]
    mirror, tree = place / "mirror.git", place / commit
    with _lock:
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, root) from error
        if not (mirror / "HEAD").exists():
            _git(url, "init", "--quiet", "--bare", str(mirror))
        if not _contained(url, mirror, commit):
            _git(url, "-C", str(mirror), "fetch", "--quiet", "--prune", "--no-recurse-submodules", url,
                 "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")  # fmt: skip
            if not _contained(url, mirror, commit):
                raise RunRefusedError(
                    f"no branch and no tag of {url} contains the commit {commit}: push it there first"
                )
        if not _whole(tree, commit):
            shutil.rmtree(tree, ignore_errors=True)
            _make_room(url, mirror, place)
            _git(url, "-C", str(mirror), "worktree", "add", "--quiet", "--force", "--detach", str(tree), commit)
        os.utime(tree)
    return tree


def folder_in(tree: Path, folder: Path) -> Path:
    """`folder` of a worktree with all links followed. Raises RunRefusedError if they lead out of the worktree."""
    place = Path(os.path.realpath(tree / folder))
    if not place.is_relative_to(os.path.realpath(tree)):
        raise RunRefusedError(
            f"the folder {str(folder)!r} of commit {tree.name} leads out of the repository by a symbolic link: the machine's owner "
            "can name another folder in the catalog, or make it a folder in the repository"
        )
    return place


def reachable(text: str) -> None:
    """Raises SourceError if the remote does not answer."""
    url = url_of(text)
    _git(url, "ls-remote", "--quiet", "--heads", url)


def _contained(url: str, mirror: Path, commit: str) -> bool:
    try:
        return bool(_git(url, "-C", str(mirror), "for-each-ref", "--count=1", f"--contains={commit}").strip())
    except SourceError:
        return False  # an object that this mirror lacks


def _whole(tree: Path, commit: str) -> bool:
    """Whether the worktree is as it was checked out. If it was interrupted or written into, it is made again."""
    if not (tree / ".git").is_file():
        return False
    try:
        head = _git("", "-C", str(tree), "rev-parse", "HEAD").decode("ascii", "replace").strip()
        return head == commit and not _git("", "-C", str(tree), "status", "--porcelain", "--ignored").strip()
    except SourceError:
        return False


def _make_room(url: str, mirror: Path, place: Path) -> None:
    trees = sorted((one for one in place.iterdir() if re.fullmatch(COMMIT_PATTERN, one.name)), key=_last_used)
    for old in trees[: max(0, len(trees) - WORKTREES_MAX + 1)]:
        shutil.rmtree(old, ignore_errors=True)
    _git(url, "-C", str(mirror), "worktree", "prune")


def _last_used(tree: Path) -> float:
    return tree.stat().st_mtime


def _git(url: str, *arguments: str) -> bytes:
    """Raises SourceError with the last line that git printed."""
    scheme = url.partition("://")[0] or "none"
    options = ("-c", "protocol.allow=never", "-c", f"protocol.{scheme}.allow=always", "-c", "advice.detachedHead=false")
    variables = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE")
    }
    variables |= {"LANG": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
    try:
        return subprocess.run(
            [*HARDENED_GIT, *options, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=FETCH_TIMEOUT_S, check=True, env=variables,
        ).stdout  # fmt: skip
    except FileNotFoundError as error:
        raise SourceError("git is not on this machine: install it, or use a recipe with a folder") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"git did not answer within {FETCH_TIMEOUT_S:.0f} s: {url}") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SourceError(f"git: {lines[-1] if lines else f'exit code {error.returncode}'} ({url})") from error
