"""Decides which machines are alive, by this process's monotonic clock: a machine is alive while the `beat` of its document changes.

Wall clocks of replicas may differ by an hour, so a stored time is never compared with the current time for this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from detctl_coordinator.domain.machine import Machine

# If a poll comes this late, this process was delayed (it was stopped, or the store did not answer), so silence in between proves nothing.
PAUSE_S = 5.0


class Leases:
    """lease_s: the silence after which an agent's active runs count as lost."""

    def __init__(self, lease_s: float, monotonic: Callable[[], float]) -> None:
        self.lease_s = lease_s
        self._monotonic = monotonic
        self._seen: dict[str, tuple[str, float]] = {}  # machine -> (beat, when we first saw it)
        self._proven: set[str] = set()  # machines whose beat we saw change
        self._observed_at: float | None = None
        self._needed_since: dict[
            tuple[str, str], float
        ] = {}  # (audit, machine) -> when the audit first needed the machine

    def observe(self, machines: Iterable[Machine]) -> None:
        """Records the beats of the documents as they are now."""
        now = self._monotonic()
        self._skip_own_pause(now)
        for machine in machines:
            if self._seen.get(machine.name, ("", 0.0))[0] != machine.beat or machine.name not in self._seen:
                if machine.name in self._seen:
                    self._proven.add(machine.name)
                self._seen[machine.name] = (machine.beat, now)

    def _skip_own_pause(self, now: float) -> None:
        """Moves all times forward by the time for which this process was delayed."""
        pause = 0.0 if self._observed_at is None else now - self._observed_at
        self._observed_at = now
        if pause > PAUSE_S:
            self._seen = {name: (beat, when + pause) for name, (beat, when) in self._seen.items()}
            self._needed_since = {key: when + pause for key, when in self._needed_since.items()}

    def silent_s(self, machine: str) -> float:
        """Returns the seconds since the last change of the beat; 0 for a machine that was never observed."""
        seen = self._seen.get(machine)
        return 0.0 if seen is None else self._monotonic() - seen[1]

    def alive(self, machine: Machine) -> bool:
        """Returns whether the machine's document has it as connected, and its lease has not expired."""
        return machine.connected and self.silent_s(machine.name) < self.lease_s

    def proven(self, machine: Machine) -> bool:
        """Returns whether the machine is alive and this process has seen its beat change: a document that a replica finds at its start
        may be the last one of a dead agent."""
        return machine.name in self._proven and self.alive(machine)

    def expired(self, machine: str) -> bool:
        """Returns whether the lease has expired, connected or not."""
        return self.silent_s(machine) >= self.lease_s

    def missed_s(self, audit_id: str, machine: str) -> float:
        """Returns for how long an audit has needed this machine in vain."""
        needed_since = self._needed_since.setdefault((audit_id, machine), self._monotonic())
        return min(self._monotonic() - needed_since, self.silent_s(machine))

    def forget(self, audit_ids: Iterable[str]) -> None:
        """Forgets all audits except these."""
        keep = set(audit_ids)
        self._needed_since = {key: when for key, when in self._needed_since.items() if key[0] in keep}
