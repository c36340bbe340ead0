"""Measures the time to find the first divergence of two runs of 10^4 to 10^6 fingerprints, through a store and the service.

    python benchmarks/first_divergence.py [--store redis://HOST:PORT/DB] [--powers 4 5 6 7]     power 7 takes a minute more

The default store is SQLite. A run has 500 fingerprints per step in ten streams. From one planted step on, late in the run, forward,
loss, backward and update differ. The index of both runs is complete. Of the fingerprints only those of the planted step are stored,
because the comparison reads no others. "bisection" is the search of one stream. "comparison" is everything: all streams, roots, kinds,
and whether a difference lasts. "service" is the Compare call of a real coordinator over the same store: comparison, attribution and
sending the verdict through gRPC. Each time is the best of three, each with a cold reader. The ratio compares the service's time with
that of the smallest pair. 100 times as many fingerprints should take far less than 100 times as long.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from detctl_coordinator.comparison.first_divergence import Side, first_chain_difference
from detctl_coordinator.comparison.pair import PairComparison, compare_pair
from detctl_coordinator.domain.audit import Audit, AuditRequest
from detctl_coordinator.domain.fingerprint import (
    Fingerprint,
    Phase,
    Seal,
    SealedStream,
    SegmentMeta,
    Stage,
    StepEntry,
    StreamKey,
)
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_coordinator.storage.open_store import open_store
from detctl_coordinator.storage.reading.columns import pack
from detctl_coordinator.storage.reading.reader import StoredRun
from detctl_coordinator.storage.store import Store
from detctl_probe.transport.chain import ZERO, StepFold, chain, record_hash
from detctl_proto.v1.audits_pb2 import CompareRequest, ListRequest
from detctl_proto.v1.audits_pb2_grpc import AuditsStub

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "integration" / "coordinator"))
from coordinator_processes import coordinator

A_STEP = 500
STREAMS = [stage for stage in Stage if Stage.RNG <= stage <= Stage.UPDATE]
DIFFERING = (Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)
RECORDS = A_STEP // len(STREAMS)
ROUNDS = 3


class Counted(StoredRun):
    """Counts what the comparison reads."""

    entry_reads = 0
    record_reads = 0

    def entry(self, key: StreamKey, ordinal: int) -> StepEntry:
        self.entry_reads += 1
        return super().entry(key, ordinal)

    def entries(self, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        found = super().entries(key, start, stop)
        self.entry_reads += len(found)
        return found

    def records(self, key: StreamKey, step: int) -> list[Fingerprint]:
        self.record_reads += 1
        return super().records(key, step)


def planted_records(step: int, other: bool) -> list[Fingerprint]:
    return [
        Fingerprint(
            at, stage, Phase.TRAIN, step, 0, f"layer{at % RECORDS}", 0, "float32", (64, 64), value(stage, step, other)
        )
        for at, stage in enumerate(s for s in STREAMS for _ in range(RECORDS))
    ]


def value(stage: Stage, step: int, other: bool) -> bytes:
    return (stage * 1_000_003 + step * 31 + (17 if other and stage in DIFFERING else 0)).to_bytes(16, "little")


def entries(stage: Stage, steps: int, planted: int, other: bool) -> Iterator[StepEntry]:
    """Yields the index of one stream. All fingerprints of a step have the same hash, because the search does not depend on them."""
    before = ZERO
    for step in range(steps):
        digest = record_hash("s", 0, "float32", (64, 64), value(stage, step, other and step >= planted))
        sum_ = digest
        if step == planted:
            folded = StepFold()
            for r in planted_records(step, other):
                if r.stage is stage:
                    folded.take(record_hash(r.site, r.occurrence, r.dtype, r.shape, r.digest))
            digest, sum_ = folded.digest, folded.sum
        before = chain(before, step, digest)
        yield StepEntry(step, step, RECORDS, digest, sum_, before)


def store_run(store: Store, run: RunRecord, steps: int, planted: int, other: bool) -> None:
    """Writes the index in segments of 4,096 entries, the planted step's fingerprints in one of them, and the seal."""
    run_id = run.spec.run_id
    store.open_attempt(run_id, 1)
    number = 0
    sealed = []

    def put(records: list[Fingerprint], first: int, last: int, closed: list[tuple[StreamKey, StepEntry]]) -> None:
        nonlocal number
        columns = pack(records)
        meta = SegmentMeta(0, number, "n6.v1", "module", len(records), first, last, zlib.crc32(columns), len(columns))
        store.put_segment(run_id, 1, meta, columns, closed)
        number += 1

    put(planted_records(planted, other), planted, planted, [])
    for stage in STREAMS:
        key, last, closed = StreamKey(0, stage), ZERO, []
        for entry in entries(stage, steps, planted, other):
            closed.append((key, entry))
            last = entry.chain
            if len(closed) == 4096:
                put([], steps, steps, closed)
                closed = []
        put([], steps, steps, closed)
        sealed.append(SealedStream(key, steps, steps * RECORDS, last))
    store.put_seal(run_id, 1, Seal(0, number, steps - 1, steps, "exit", True, tuple(sealed), {}))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def run_id(name: str, power: int) -> str:
    return f"{name}-{power}"


def planted_step(power: int) -> int:
    return 10**power // A_STEP * 2 // 3


def measure(store: Store, power: int) -> None:
    """Stores a pair, and prints the cost of searching one stream and of the whole comparison."""
    steps, planted = 10**power // A_STEP, planted_step(power)
    runs = []
    for name in ("one", "two"):
        spec = RunSpec(run_id(name, power), f"audit-{power}", "bench", Arm(name), 0, step_to=None)
        runs.append(RunRecord(spec, RunState.RUNNING, 1))
    audit = Audit(f"audit-{power}", AuditRequest("bench", ("one", "two")), {r.spec.run_id: r for r in runs})
    audit = store.put_audit(audit)
    for run, other in zip(runs, (False, True), strict=True):
        store_run(store, run, steps, planted, other)
    ended = {r.spec.run_id: replace(r, state=RunState.SEALED, outcome=RunOutcome("exit", ranks=1)) for r in runs}
    store.put_audit(replace(audit, runs=ended))
    a, b = (Counted(store, run.spec.run_id) for run in runs)
    key = StreamKey(0, Stage.UPDATE)
    seconds, found = timed(lambda: first_chain_difference(Side.of(a, key, steps), Side.of(b, key, steps)))
    assert found == planted, found
    reads = a.entry_reads
    whole = float("inf")
    for _ in range(ROUNDS):
        a, b = (Counted(store, run.spec.run_id) for run in runs)
        took, pair = timed(lambda: compare_pair(a, b))  # noqa: B023
        whole = min(whole, took)
        assert isinstance(pair, PairComparison)
        assert [(root.node.stage, root.step) for root in pair.roots] == [(Stage.FORWARD, planted)]
    print(
        f"10^{power} fingerprints, {steps:6} steps: bisection {seconds * 1e3:7.2f} ms, {reads:3} entries a run;"
        f" comparison {whole * 1e3:8.1f} ms, {a.entry_reads:6} entries and the fingerprints of {a.record_reads} steps a run",
        flush=True,
    )


def measure_service(folder: Path, address: str, powers: list[int]) -> None:
    """Requests the verdict of each pair from a real coordinator over the same store."""
    smallest = 0.0
    with (
        coordinator(folder, "--log-level", "warning", store=address) as service,
        grpc.insecure_channel(service.address, options=[("grpc.enable_http_proxy", 0)]) as channel,
    ):
        stub = AuditsStub(channel)
        stub.ListMachines(ListRequest())  # the connection is made before anything is timed
        for power in powers:
            request = CompareRequest(run_ids=[run_id("one", power), run_id("two", power)])
            took = float("inf")
            for _ in range(ROUNDS):
                seconds, reply = timed(lambda request=request: stub.Compare(request))
                took = min(took, seconds)
                found = json.loads(reply.verdict_json)["first_divergence"]
                assert (found["stage"], found["step"]) == ("forward", planted_step(power)), found
            smallest = smallest or took
            times = (
                f"{took / smallest:5.2f} times 10^{powers[0]} for {10 ** (power - powers[0])} times the fingerprints"
            )
            print(f"10^{power} fingerprints through the service: {took * 1e3:7.1f} ms, {times}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="", help="Address of the store. The default is a new SQLite file.")
    parser.add_argument("--powers", type=int, nargs="+", default=[4, 5, 6])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="db-") as folder:
        address = options.store or f"sqlite:{Path(folder) / 'bench.sqlite'}"
        store = open_store(address)
        for power in options.powers:
            measure(store, power)
        store.close()  # SQLite has one owner at a time
        measure_service(Path(folder), address, options.powers)


if __name__ == "__main__":
    main()
