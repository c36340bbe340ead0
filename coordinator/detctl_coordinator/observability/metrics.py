"""Figures for Prometheus, on an address of their own (`--metrics HOST:PORT`, metrics_server.py); nothing is counted anywhere else.

No label comes from a user's name but those of machines and methods, so the number of series has a bound (limits.MACHINES_MAX).
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from detctl_coordinator import limits

REGISTRY = CollectorRegistry()
REFUSED = Counter(
    "detctl_refused_calls", "Calls that were refused, by method and code.", ("method", "code"), registry=REGISTRY
)
SEGMENTS = Counter("detctl_segments", "Segments that the store has acknowledged.", registry=REGISTRY)
SEGMENT_BYTES = Counter("detctl_segment_bytes", "Compressed bytes of these segments.", registry=REGISTRY)
FINGERPRINTS = Counter("detctl_fingerprints", "Fingerprints in these segments.", registry=REGISTRY)
ACTIVE_AUDITS = Gauge("detctl_active_audits", "Audits that run or compare.", registry=REGISTRY)
ACTIVE_RUNS = Gauge(
    "detctl_active_runs", "Runs of these audits that are not over, by state.", ("state",), registry=REGISTRY
)
MACHINE_UP = Gauge("detctl_machine_up", "1 for a machine whose agent is connected.", ("machine",), registry=REGISTRY)
STORE_UP = Gauge("detctl_store_up", "1 where the store answered the last look at it.", registry=REGISTRY)
STATES = ("waiting", "assigned", "running")


def looked(machines: Iterable[tuple[str, bool]], audits: int, runs: Iterable[str]) -> None:
    """After a look at the store: machines with whether they live, active audits, states of their runs."""
    STORE_UP.set(1)
    ACTIVE_AUDITS.set(audits)
    counted = list(runs)
    for state in STATES:
        ACTIVE_RUNS.labels(state).set(counted.count(state))
    for name, up in list(machines)[: limits.MACHINES_MAX]:
        MACHINE_UP.labels(name).set(int(up))
