"""Measures fingerprints per second through gRPC into each store, with a client process and a real coordinator on one core.

    python benchmarks/ingest_grpc.py [--segments 200] [--records 4096] [--store sqlite redis] [--core 0]

The client sends segments of 4,096 fingerprints as an agent packs them (digests do not compress). Both processes are pinned to the same
core, so the figure includes the client's own work. The program prints one line of JSON for each store: fingerprints/s, bytes per
fingerprint on the wire, the coordinator's share of the CPU time, and the ratio to the goal of 100,000/s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOTS = [str(ROOT / root) for root in ("proto", "agent", "coordinator", "cli")]
sys.path[:0] = [*ROOTS, str(ROOT / "tests" / "integration" / "coordinator")]

import grpc  # noqa: E402
from detctl_proto.v1 import agents_pb2, agents_pb2_grpc, audits_pb2, audits_pb2_grpc, records_pb2  # noqa: E402

AIM = 100_000
SITES = 250
OPTIONS = [("grpc.enable_http_proxy", 0)]


def segments(run: audits_pb2.ImportReply, count: int, records: int) -> list[agents_pb2.IngestRequest]:
    """Returns distinct segments of one rank, each with `records` fingerprints and one ended step."""
    made = random.Random(7)
    requests = []
    for number in range(count):
        columns = records_pb2.RecordColumns(
            names=[f"forward/layer{i}.conv" for i in range(SITES)] + ["float32"],
            sequence_delta=[number * records] + [1] * (records - 1),
            stage=[8] * records,
            phase=[0] * records,
            step_delta=[number] + [0] * (records - 1),
            micro=[0] * records,
            site=[i % SITES for i in range(records)],
            occurrence=[i // SITES for i in range(records)],
            dtype=[SITES] * records,
            shape=[0] * records,
            shapes=[records_pb2.Shape(sizes=[32, 64, 56, 56])],
            digests=made.randbytes(16 * records),
        )
        packed = zlib.compress(columns.SerializeToString(), 6)
        entry = records_pb2.StepEntry(
            stage=8, ordinal=number, step=number, count=records, digest=bytes(16), sum=bytes(16), chain=bytes(16)
        )
        segment = records_pb2.Segment(
            run_id=run.run_id,
            attempt=1,
            number=number,
            scheme="n6.v1",
            level="module",
            record_count=records,
            first_step=number,
            last_step=number,
            columns=packed,
            crc32=zlib.crc32(packed),
            closed=[entry],
        )
        requests.append(agents_pb2.IngestRequest(segment=segment, secret=run.secret))
    return requests


async def send(address: str, count: int, records: int) -> tuple[float, int]:
    """Returns (seconds until the last acknowledgement, bytes sent)."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        audits = audits_pb2_grpc.AuditsStub(channel)
        imported = await audits.ImportRun(audits_pb2.ImportRequest(label="bench/default/base/twin-0", run_json="{}"))
        requests = segments(imported, count, records)
        begin = time.perf_counter()
        replies = [reply async for reply in agents_pb2_grpc.AgentsStub(channel).Ingest(iter(requests))]
        seconds = time.perf_counter() - begin
    bad = [reply for reply in replies if reply.refused or reply.fenced]
    if bad or [reply.number for reply in replies] != list(range(count)):
        raise SystemExit(f"not everything was acknowledged: {bad[:1]}")
    return seconds, sum(request.ByteSize() for request in requests)


@contextlib.contextmanager
def store(kind: str, folder: Path) -> Iterator[str | None]:
    """Yields the address of a store, or None if its server is not installed."""
    if kind == "sqlite":
        yield f"sqlite:{folder}/store.sqlite"
        return
    server = shutil.which("redis-server")
    if server is None:
        yield None
        return
    socket = folder / "redis.sock"
    flags = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--appendonly", "yes"]
    process = subprocess.Popen(
        [server, *flags, "--appendfsync", "always", "--maxmemory-policy", "noeviction"], stdout=subprocess.DEVNULL
    )
    try:
        import redis
        from redis.backoff import ConstantBackoff
        from redis.retry import Retry

        redis.Redis(unix_socket_path=str(socket), retry=Retry(ConstantBackoff(0.05), 200)).ping()
        yield f"unix://{socket}?db=0"
    finally:
        process.terminate()
        process.wait()


def cpu_s(pid: int) -> float:
    """Returns the user and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--records", type=int, default=4096)
    parser.add_argument("--store", nargs="+", default=["sqlite", "redis"], choices=["sqlite", "redis"])
    parser.add_argument("--core", type=int, default=0, help="Core to which everything is pinned; -1 pins nothing.")
    arguments = parser.parse_args()
    if arguments.core >= 0:
        os.sched_setaffinity(0, {arguments.core})  # children inherit it
    from coordinator_processes import coordinator

    for kind in arguments.store:
        with tempfile.TemporaryDirectory(prefix="db-") as name, store(kind, Path(name)) as address:
            if address is None:
                print(json.dumps({"store": kind, "skipped": "no redis-server on PATH"}))
                continue
            with coordinator(Path(name), "--log-level", "warning", store=address) as service:
                before = cpu_s(service.pid)
                seconds, sent = asyncio.run(send(service.address, arguments.segments, arguments.records))
                spent = cpu_s(service.pid) - before
            total = arguments.segments * arguments.records
            figures = {
                "store": kind,
                "fingerprints": total,
                "fingerprints_per_s": round(total / seconds),
                "of_aim": round(total / seconds / AIM, 2),
                "wire_bytes_per_fingerprint": round(sent / total, 1),
                "coordinator_cpu_us_per_fingerprint": round(spent / total * 1e6, 2),
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
