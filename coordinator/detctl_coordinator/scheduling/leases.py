"""Who is alive, judged by this process's own monotonic clock: a machine lives while its document's `beat` keeps changing.

Wall clocks of replicas may differ by an hour, so a stored time is never compared with now to declare a machine gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from detctl_coordinator.domain.machine import Machine

# A look that comes this late was held up here (a stopped process, a store that did not answer): silence in between proves nothing.
PAUSE_S = 5.0


class Leases:
    """lease_s: silence after which what an agent had in hand is given up."""

    def __init__(self, lease_s: float, monotonic: Callable[[], float]) -> None:
        self.lease_s = lease_s
        self._monotonic = monotonic
        self._seen: dict[str, tuple[str, float]] = {}  # machine -> (beat, when it was new to us)
        self._proven: set[str] = set()  # machines whose beat we saw change
        self._looked: float | None = None
        self._wanted: dict[
            tuple[str, str], float
        ] = {}  # (audit, machine) -> when we first saw that it wants the machine

    def observe(self, machines: Iterable[Machine]) -> None:
        """Takes note of the documents as they are now."""
        now = self._monotonic()
        self._forgive(now)
        for machine in machines:
            if self._seen.get(machine.name, ("", 0.0))[0] != machine.beat or machine.name not in self._seen:
                if machine.name in self._seen:
                    self._proven.add(machine.name)
                self._seen[machine.name] = (machine.beat, now)

    def _forgive(self, now: float) -> None:
        """Takes our own pause out of every account."""
        pause = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        if pause > PAUSE_S:
            self._seen = {name: (beat, when + pause) for name, (beat, when) in self._seen.items()}
            self._wanted = {key: when + pause for key, when in self._wanted.items()}

    def silent_s(self, machine: str) -> float:
        """Seconds since the last new sign of life; 0 for a machine that was never observed."""
        seen = self._seen.get(machine)
        return 0.0 if seen is None else self._monotonic() - seen[1]

    def alive(self, machine: Machine) -> bool:
        """Connected by its own last word, and not silent."""
        return machine.connected and self.silent_s(machine.name) < self.lease_s

    def proven(self, machine: Machine) -> bool:
        """Alive, and its beat changed while we looked: what a replica finds when it starts may be a dead agent's last word."""
        return machine.name in self._proven and self.alive(machine)

    def expired(self, machine: str) -> bool:
        """Silent for longer than a lease, disconnected or not."""
        return self.silent_s(machine) >= self.lease_s

    def missed_s(self, audit_id: str, machine: str) -> float:
        """How long an audit has gone without its machine: since the later of the last sign of life and the first wish."""
        wanted = self._wanted.setdefault((audit_id, machine), self._monotonic())
        return min(self._monotonic() - wanted, self.silent_s(machine))

    def forget(self, audit_ids: Iterable[str]) -> None:
        """Drops what is kept of audits other than these."""
        keep = set(audit_ids)
        self._wanted = {key: when for key, when in self._wanted.items() if key[0] in keep}
