"""Measures how many fingerprints per second each store writes durably, from one caller and from four, side by side in one run.

It calls the store directly, with segments that were made before (4,096 fingerprints each). ingest_grpc.py measures the same through
gRPC. The goal is 100,000 fingerprints/s on one core.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from _fingerprint_samples import RECORDS, Sample, open_run, segments
from _store_places import kinds, place
from detctl_coordinator.domain.fingerprint import StreamKey
from detctl_coordinator.storage.store import Store

SEGMENTS = 40
ROUNDS = 3  # interleaved; the best one counts, because other load slows the others
CALLERS = 4


def ingest(store: Store, samples: list[Sample], run_id: str, callers: int) -> tuple[float, float]:
    """Returns (fingerprints per second, CPU seconds of this process per second). Each caller sends all samples as a rank of its own."""
    open_run(store, run_id)

    def send(rank: int) -> None:
        for meta, data, closed in samples:
            moved = [(StreamKey(rank, key.stage, key.phase), entry) for key, entry in closed]
            store.put_segment(run_id, 1, replace(meta, rank=rank), data, moved)

    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(send, range(callers)))
    wall = time.perf_counter() - began
    return callers * len(samples) * RECORDS / wall, (time.process_time() - cpu) / wall


def main() -> None:
    samples = list(segments(SEGMENTS))
    best: dict[tuple[str, int], tuple[float, float]] = {}
    for number in range(ROUNDS):
        for kind in kinds():
            with place(kind) as (store, _):
                for callers in (1, CALLERS):
                    measured = ingest(store, samples, f"run-{number}-{callers}", callers)
                    best[kind, callers] = max(best.get((kind, callers), (0.0, 0.0)), measured)
    base = best["sqlite", 1][0]
    size = sum(len(data) for _, data, _ in samples) / len(samples)
    print(
        f"{SEGMENTS} segments of {RECORDS} records, {size / 1024:.0f} KiB each; best of {ROUNDS} rounds, durable writes"
    )
    print(f"{'store':8} {'callers':>7} {'fingerprints/s':>15} {'ratio':>6} {'cores of the coordinator':>25}")
    for (kind, callers), (rate, cores) in best.items():
        print(f"{kind:8} {callers:7} {rate:15,.0f} {rate / base:6.2f} {cores:25.2f}")


if __name__ == "__main__":
    main()
