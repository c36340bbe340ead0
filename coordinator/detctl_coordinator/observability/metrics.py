"""Metrics for Prometheus, served on a separate address (`--metrics HOST:PORT`, metrics_server.py).

Labels hold methods, codes, states and machines, never other names that users choose, so limits.MACHINES_MAX bounds the number of series.
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
STORE_UP = Gauge("detctl_store_up", "1 if the store answered the last read.", registry=REGISTRY)
STATES = ("waiting", "assigned", "running")


def set_gauges(machines: Iterable[tuple[str, bool]], audits: int, runs: Iterable[str]) -> None:
    """Sets the gauges after a read of the store. machines: (name, whether it is alive); runs: states of the runs of active audits."""
    STORE_UP.set(1)
    ACTIVE_AUDITS.set(audits)
    counted = list(runs)
    for state in STATES:
        ACTIVE_RUNS.labels(state).set(counted.count(state))
    for name, up in list(machines)[: limits.MACHINES_MAX]:
        MACHINE_UP.labels(name).set(int(up))
