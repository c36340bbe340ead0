"""Notes of sources that no seed reaches: the system's entropy, asked for by the user's own code."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import Evidence
from detctl_coordinator.attribution.evidence.facts import Note

SYSTEM_RANDOM = "random.SystemRandom"
ENTROPY = ("os.urandom", "secrets.", "uuid.uuid1", "uuid.uuid4", SYSTEM_RANDOM)


def entropy(evidence: Evidence) -> list[Note]:
    """Where os.urandom, uuid, secrets or SystemRandom are asked. They may only name a run: no proof by themselves."""
    return [n for n in evidence.notes("identity") if str(n.raw.get("call") or "").startswith(ENTROPY)]


def shuffled_by_system(evidence: Evidence) -> bool:
    """SystemRandom is in use: unlike a uuid, nobody takes it to name a run."""
    return any(str(n.raw.get("call")) == SYSTEM_RANDOM for n in entropy(evidence))
