"""Decides who may write to a run: the agent of its machine, or the user who joined or imported it and sends its secret. Pure.

The holder receives the secret once, in JoinReply or ImportReply. The store keeps only its digest.
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
    """Who makes a call. machine: the machine that it acts for, "" for a command line; peer: its address as gRPC formats it."""

    caller: Caller = LOCAL
    machine: str = ""
    peer: str = ""

    @property
    def name(self) -> str:
        """The machine that the caller acts for, else the caller's own name."""
        return limits.clean(self.machine, 80) or self.caller.name


def new_secret() -> tuple[str, str]:
    """Returns (the secret of a run, the digest that is stored)."""
    text = secrets.token_urlsafe(32)
    return text, digest_of(text)


def sent_by_users(audit: Audit) -> bool:
    """Returns whether users, not agents, send the runs of this audit: imported folders, and runs that users start themselves."""
    return is_import_id(audit.audit_id) or audit.request.join_only


def is_holder(run: RunRecord, sender: Sender, *, by_users: bool) -> bool:
    """Returns whether the sender has the name of the run's holder. by_users: see `sent_by_users`."""
    if by_users:
        return bool(run.holder) and run.holder == sender.caller.name
    return run.spec.arm.machine == sender.machine


def refusal_reason(run: RunRecord, sender: Sender, secret: str, *, by_users: bool) -> str:
    """Returns why the sender may not write to the run, one line for people; "" if it may."""
    run_id = run.spec.run_id
    if not by_users:
        if is_holder(run, sender, by_users=False):
            return ""
        machine = limits.clean(sender.machine, 80) or "this caller"
        return f"run {run_id} belongs to another machine, not to {machine}"
    if not run.secret_digest:
        return (
            f"run {run_id} has no holder now: join or import it again, with the same detctl version as this coordinator"
        )
    if not is_holder(run, sender, by_users=True):
        return f"run {run_id} belongs to {run.holder}, not to {sender.name}"
    if not secret:
        return (
            f"run {run_id} needs the secret of its holder, and the message has none: upgrade detctl on the sending host"
        )
    if not hmac.compare_digest(run.secret_digest, digest_of(secret)):
        return f"run {run_id} has another holder now: the secret in the message is not the current one"
    return ""


def may_join(audit: Audit, caller: Caller) -> bool:
    """Returns whether the caller may join runs of this audit: its managers, and the joiners that its request names."""
    return may_manage(audit, caller) or caller.name in audit.request.joiners


def may_manage(audit: Audit, caller: Caller) -> bool:
    """Returns whether the caller may cancel or explain the audit and take over its runs: its owner and administrators may."""
    return caller.role is Role.ADMIN or caller.name == (audit.owner or audit.request.requested_by)
