"""The user that trainings run as if the agent is root: named in the catalog, looked up on this machine."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from typing import Any

from detctl_agent.errors import RunRefusedError

FORM = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,63}\$?|[0-9]{1,10}(:[0-9]{1,10})?", re.ASCII)
ID_MAX = 2**32 - 2  # one more is -1 for the kernel, which means "leave it as it is": root would stay root


@dataclass(frozen=True)
class Account:
    """A user other than the agent's own. groups: its supplementary groups; empty for a number without a user."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    @property
    def switch(self) -> dict[str, Any]:
        """Arguments of subprocess that make the child this user before it executes anything; only for the shim (see as_user.py)."""
        return {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}


def check_form(text: str) -> str:
    """The text itself. Raises ValueError if it cannot be `user` of a catalog."""
    if text and not FORM.fullmatch(text):
        raise ValueError(f"{text!r} is neither a user name nor UID nor UID:GID")
    if text[:1].isdigit() and any(int(part) > ID_MAX for part in text.split(":")):
        raise ValueError(f"{text}: a number of a user or group is {ID_MAX} at most")
    return text


def account_of(text: str) -> Account | None:
    """The account that trainings run as; None: the agent's own.

    Raises RunRefusedError if there is no such user, or the agent cannot become it.
    """
    if not text:
        return None
    found = _looked_up(text)
    if found.uid == os.geteuid() and (found.uid == 0 or found.gid == os.getegid()):
        return None
    if os.geteuid() != 0:
        raise RunRefusedError(
            f"user = {text!r}: only root starts trainings as another user, and the agent runs as uid {os.geteuid()}: "
            "start the agent as root, or leave `user` out of the catalog"
        )
    return found


def _looked_up(text: str) -> Account:
    check_form(text)
    uid, _, gid = text.partition(":")
    try:
        entry = pwd.getpwuid(int(uid)) if uid.isdigit() else pwd.getpwnam(text)
    except KeyError:
        if not uid.isdigit():
            raise RunRefusedError(
                f"user = {text!r}: this machine has no such user: useradd --system {text}, or correct the catalog"
            ) from None
        return Account(text, int(uid), int(gid or uid))
    if gid:
        return Account(text, entry.pw_uid, int(gid))
    return Account(text, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def name_of(uid: int) -> str:
    """The user's name, or the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
