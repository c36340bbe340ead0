"""Finds calls of the user's code that read entropy from the operating system, which no seed controls."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence

SYSTEM_RANDOM = "random.SystemRandom"
ENTROPY = ("os.urandom", "/dev/urandom", "/dev/random", "secrets.", "uuid.uuid1", "uuid.uuid4", SYSTEM_RANDOM)
NAMES = ("uuid.", "secrets.token_hex", "secrets.token_urlsafe")  # mostly name a run or a file


def entropy_reads(evidence: Evidence) -> list[Note]:
    """Returns the notes of calls of os.urandom, its device, uuid, secrets and SystemRandom. They prove nothing alone: a program may
    only name its run with them."""
    return [n for n in evidence.notes("identity") if str(n.raw.get("call") or "").startswith(ENTROPY)]


def drawn_numbers(evidence: Evidence) -> list[Note]:
    """Returns those that do not serve to name something."""
    return [n for n in entropy_reads(evidence) if not str(n.raw.get("call")).startswith(NAMES)]


def uses_system_random(evidence: Evidence) -> bool:
    """Returns whether SystemRandom is used. Unlike a uuid, it does not serve to name a run."""
    return any(str(n.raw.get("call")) == SYSTEM_RANDOM for n in entropy_reads(evidence))
