"""Who may write to a run: the agent of its machine; for a joined or imported run whoever joined or imported it, with its secret.

The secret goes to its holder once, in JoinReply or ImportReply; what is stored is its digest. Pure.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.identity import LOCAL, Caller, Role, digest_of
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.planning.imports import is_import_id


@dataclass(frozen=True)
class Sender:
    """Who makes a call. `machine`: for which it speaks, empty for a command line; `peer`: its address as gRPC has it."""

    caller: Caller = LOCAL
    machine: str = ""
    peer: str = ""

    @property
    def name(self) -> str:
        """The machine that it speaks for, else the caller's own."""
        return limits.clean(self.machine, 80) or self.caller.name


def new_secret() -> tuple[str, str]:
    """(the secret of a run, the digest that is stored)"""
    text = secrets.token_urlsafe(32)
    return text, digest_of(text)


def sent_by_users(audit: Audit) -> bool:
    """Whether runs of this audit come from users, not from agents: imported folders, and runs that users launch themselves."""
    return is_import_id(audit.audit_id) or audit.request.join_only


def is_holder(run: RunRecord, sender: Sender, *, by_users: bool) -> bool:
    """Whether the run is the sender's by name. by_users: see `sent_by_users`."""
    if by_users:
        return bool(run.holder) and run.holder == sender.caller.name
    return run.spec.arm.machine == sender.machine


def why_not(run: RunRecord, sender: Sender, secret: str, *, by_users: bool) -> str:
    """Why the sender may not write to the run, one line for people; empty where it may."""
    run_id = run.spec.run_id
    if not by_users:
        if is_holder(run, sender, by_users=False):
            return ""
        machine = limits.clean(sender.machine, 80) or "this caller"
        return f"run {run_id} belongs to another machine than {machine}"
    if not run.secret_digest:
        return f"run {run_id} is nobody's now: join or import it again, with the detctl of this coordinator"
    if not is_holder(run, sender, by_users=True):
        return f"run {run_id} belongs to {run.holder}, not to {sender.name}"
    if not secret:
        return f"run {run_id} is sent with the secret that its holder was given, and none came: upgrade detctl on the sending host"
    if not hmac.compare_digest(run.secret_digest, digest_of(secret)):
        return f"run {run_id} has another holder by now: the secret that came is not its own"
    return ""


def may_join(audit: Audit, caller: Caller) -> bool:
    """Whether the caller may train runs of an audit that waits for its runs: also whom its request names."""
    return may_manage(audit, caller) or caller.name in audit.request.joiners


def may_manage(audit: Audit, caller: Caller) -> bool:
    """Whether the caller may cancel an audit, explain it, and take over its runs: who started it, and administrators."""
    return caller.role is Role.ADMIN or caller.name == (audit.owner or audit.request.requested_by)
