"""Floods a coordinator with small inputs that could cost much, and measures its memory and how long other callers wait.

    python benchmarks/flood.py [--coordinator CHECKOUT] [--only FLOOD ...] [--seconds 4]

Each flood goes to a new coordinator process on loopback, with its own store. Meanwhile another caller repeats ListMachines. The
program prints one line of JSON for each flood. `memory_mb` is the highest resident size of the process above that at its start (goal:
below 300). `median_ms` belongs to the other caller's calls (goal: below 50). The line also has the 99th percentile, the number of these
calls, the coordinator's share of one core, and how the coordinator answered the flood.

--coordinator takes the root of another checkout of detctl, so that you can compare its coordinator.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("proto", "agent", "coordinator", "cli")
sys.path[:0] = [str(ROOT / part) for part in PARTS]

import grpc  # noqa: E402
from detctl_proto.v1 import (  # noqa: E402
    admin_pb2,
    admin_pb2_grpc,
    agents_pb2,
    agents_pb2_grpc,
    audits_pb2,
    audits_pb2_grpc,
    records_pb2,
)

MEMORY_AIM_MB, MEDIAN_AIM_MS = 300, 50
START_S = 60
PAUSE_S = 0.02  # between two calls of the caller that does not belong to the flood
CALL_S = 30.0
STREAMS = 4
WATCHERS = 500
JOINS, AT_ONCE = 400, 8
MESSAGE = 4 << 20
# Each channel has a connection of its own.
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
Metadata = list[tuple[str, str]]
Answers = Counter[str]


class Coordinator:
    """A coordinator process on a free port of loopback. Its store and its token are in `folder`."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        reader, writer = os.pipe()
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(str(checkout / part) for part in PARTS)}
        self._folder = folder
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "detctl_coordinator.main", "--listen", "127.0.0.1:0"),
                    *("--store", f"sqlite:{folder}/store.sqlite", "--token-file", str(folder / "token")),
                    *("--ready-fd", str(writer), "--exit-with-parent"),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writer], env=variables, cwd=folder,
            )  # fmt: skip
        os.close(writer)
        with os.fdopen(reader) as ready:
            readable, _, _ = select.select([ready], [], [], START_S)
            self.address = ready.readline().strip() if readable else ""
        if not self.address:
            raise SystemExit(f"the coordinator of {checkout} did not start: {(folder / 'log').read_text()}")

    @property
    def token(self) -> Metadata:
        """Returns the credentials of the coordinator's own user."""
        return _bearer((self._folder / "token").read_text().strip())

    def memory_mb(self, field: str) -> float:
        """Returns VmRSS or VmHWM in MB."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    def cpu_s(self) -> float:
        """Returns the user and system time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_lines(self) -> int:
        return len((self._folder / "log").read_text().splitlines())

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _bearer(token: str) -> Metadata:
    return [("authorization", f"Bearer {token}")]


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        yield channel


async def answered(call: Awaitable[object], answers: Answers) -> None:
    """Counts how the call ended, by status."""
    try:
        await call
        answers["OK"] += 1
    except grpc.aio.AioRpcError as error:
        answers[error.code().name] += 1


async def submitter(coordinator: Coordinator) -> Metadata:
    """Returns the token of a new submitter."""
    async with connected(coordinator.address) as channel:
        request = admin_pb2.TokenRequest(role="submitter", name="flooder")
        made = await admin_pb2_grpc.AdminStub(channel).CreateToken(request, metadata=coordinator.token)
    return _bearer(made.token)


# -- floods: each continues until `end` is set, or until its number of calls is reached -----------------------------


def packed_bombs() -> list[bytes]:
    """Returns segments of about 24 KiB that hold eight million empty names, shapes or numbers."""
    repeated = (
        b"\x0a\x00" * (8 << 20),
        b"\x5a\x00" * (8 << 20),
        b"\x1a" + _varint((16 << 20) - 8) + bytes((16 << 20) - 8),
    )
    return [zlib.compress(columns, 9) for columns in repeated]


def bombs(run: audits_pb2.ImportReply, packed: list[bytes]) -> Iterator[agents_pb2.IngestRequest]:
    """Returns segments that claim to hold the highest number of fingerprints that is allowed."""
    for number in itertools.count():
        columns = packed[number % len(packed)]
        segment = records_pb2.Segment(
            run_id=run.run_id, attempt=1, number=number, scheme="n6.v1", level="module", record_count=65_536,
            columns=columns, crc32=zlib.crc32(columns),
        )  # fmt: skip
        yield agents_pb2.IngestRequest(segment=segment, secret=run.secret)


async def expanding_segments(coordinator: Coordinator, end: asyncio.Event, answers: Answers) -> None:
    """A submitter imports folders through several streams. Each segment expands to hundreds of megabytes."""
    token = await submitter(coordinator)
    packed = packed_bombs()

    async def stream(number: int) -> None:
        async with connected(coordinator.address) as channel:
            request = audits_pb2.ImportRequest(label=f"m{number}/default/base/twin-0", run_json="{}")
            run = await audits_pb2_grpc.AuditsStub(channel).ImportRun(request, metadata=token)
            sent = itertools.takewhile(lambda _: not end.is_set(), bombs(run, packed))
            async for reply in agents_pb2_grpc.AgentsStub(channel).Ingest(sent, metadata=token, timeout=CALL_S):
                answers["refused" if reply.refused or reply.fenced else "stored"] += 1

    await asyncio.gather(*(stream(number) for number in range(STREAMS)), return_exceptions=True)
    await end.wait()


async def elements_without_number(coordinator: Coordinator, end: asyncio.Event, answers: Answers) -> None:
    """A submitter sends messages of 4 MiB that consist of two million empty elements."""
    token = await submitter(coordinator)
    entries = b"\x62\x00" * ((MESSAGE - 64) // 2)  # Segment.closed
    segment = b"\x0a" + _varint(len(entries)) + entries

    async def stream() -> None:
        async with connected(coordinator.address) as channel:
            ingest = channel.unary_stream("/detctl.v1.Agents/Ingest")
            while not end.is_set():
                call = ingest(segment, metadata=token, timeout=CALL_S)
                await answered(_drained(call), answers)

    await asyncio.gather(*(stream() for _ in range(STREAMS)))


async def _drained(call: object) -> None:
    async for _ in call:  # type: ignore[attr-defined]
        pass


async def without_a_token(coordinator: Coordinator, end: asyncio.Event, answers: Answers) -> None:
    """An unauthenticated caller sends messages of nearly 4 MiB, six at a time: lists of two million empty names."""
    message = b"\x12\x00" * ((MESSAGE - 64) // 2)  # AuditRequest.machines

    async def caller() -> None:
        async with connected(coordinator.address) as channel:
            plan = channel.unary_unary("/detctl.v1.Audits/PlanAudit")
            while not end.is_set():
                await answered(plan(message, timeout=CALL_S), answers)

    await asyncio.gather(*(caller() for _ in range(6)))


async def malformed(coordinator: Coordinator, end: asyncio.Event, answers: Answers) -> None:
    """A submitter and an unauthenticated caller send three bytes that do not form a message."""
    token = await submitter(coordinator)

    async def caller(metadata: Metadata) -> None:
        async with connected(coordinator.address) as channel:
            plan = channel.unary_unary("/detctl.v1.Audits/PlanAudit")
            while not end.is_set():
                await answered(plan(b"\xff\xff\xff", metadata=metadata, timeout=CALL_S), answers)
                await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*(caller(metadata) for metadata in (token, token, [], [])))


async def joins(coordinator: Coordinator, end: asyncio.Event, answers: Answers, token: Metadata) -> None:
    request = audits_pb2.AuditRequest(recipe="mine", machines=["gpu1", "gpu2"], twins=2, join_only=True)
    async with connected(coordinator.address) as channel:
        stub = audits_pb2_grpc.AuditsStub(channel)
        for _ in range(0, JOINS, AT_ONCE):
            calls = (stub.StartAudit(request, metadata=token, timeout=CALL_S) for _ in range(AT_ONCE))
            await asyncio.gather(*(answered(call, answers) for call in calls))
            if end.is_set():
                break
        await end.wait()


async def joins_of_a_submitter(coordinator: Coordinator, end: asyncio.Event, answers: Answers) -> None:
    """A submitter starts 400 join-only audits."""
    await joins(coordinator, end, answers, await submitter(coordinator))


async def joins_of_its_own_user(coordinator: Coordinator, end: asyncio.Event, answers: Answers) -> None:
    """The coordinator's own user, who may have more open audits, starts 400 join-only audits."""
    await joins(coordinator, end, answers, coordinator.token)


async def watchers(coordinator: Coordinator, end: asyncio.Event, answers: Answers) -> None:
    """The coordinator's own user makes 500 watch calls on one audit."""
    async with contextlib.AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(connected(coordinator.address)) for _ in range(10)]
        stubs = [audits_pb2_grpc.AuditsStub(channel) for channel in channels]
        request = audits_pb2.AuditRequest(recipe="mine", machines=["gpu1", "gpu2"], twins=2, join_only=True)
        plan = await stubs[0].StartAudit(request, metadata=coordinator.token)

        async def watch(stub: audits_pb2_grpc.AuditsStub) -> None:
            call = stub.WatchAudit(audits_pb2.AuditRef(audit_id=plan.audit_id), metadata=coordinator.token)
            try:
                async for _ in call:
                    answers["progress"] += 1
            except grpc.aio.AioRpcError as error:
                answers[error.code().name] += 1

        tasks = [asyncio.create_task(watch(stubs[number % len(stubs)])) for number in range(WATCHERS)]
        await end.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Flood = Callable[[Coordinator, asyncio.Event, Answers], Awaitable[None]]
FLOODS: dict[str, Flood] = {
    function.__name__.replace("_", "-"): function
    for function in (
        expanding_segments,
        elements_without_number,
        without_a_token,
        malformed,
        joins_of_a_submitter,
        joins_of_its_own_user,
        watchers,
    )
}


def _varint(value: int) -> bytes:
    text = bytearray()
    while value >= 0x80:
        text.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*text, value])


def other_caller(address: str, token: Metadata, seconds: float) -> list[float]:
    """Returns the milliseconds of each call. It runs in a process of its own, so that a busy flood does not count as a slow answer."""
    took = []
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        stub = audits_pb2_grpc.AuditsStub(channel)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            stub.ListMachines(audits_pb2.ListRequest(), metadata=token, timeout=CALL_S)
            took.append(1000 * (time.perf_counter() - begin))
            time.sleep(PAUSE_S)
    return took


async def measure(coordinator: Coordinator, flood: Flood, seconds: float, other: Executor) -> dict[str, object]:
    """Returns the figures of one flood against a new coordinator. `other` runs the caller that does not belong to the flood."""
    end, answers = asyncio.Event(), Counter[str]()
    before, cpu, begin = coordinator.memory_mb("VmRSS"), coordinator.cpu_s(), time.perf_counter()
    flooding = asyncio.create_task(_reported(flood(coordinator, end, answers)))
    calling = (other_caller, coordinator.address, coordinator.token, seconds)
    took = await asyncio.get_running_loop().run_in_executor(other, *calling)
    end.set()
    await asyncio.wait_for(flooding, 2 * CALL_S)
    spent = (coordinator.cpu_s() - cpu) / (time.perf_counter() - begin)
    memory, median = coordinator.memory_mb("VmHWM") - before, statistics.median(took)
    return {
        "memory_mb": round(memory),
        "memory_aim_mb": MEMORY_AIM_MB,
        "median_ms": round(median, 1),
        "median_aim_ms": MEDIAN_AIM_MS,
        "p99_ms": round(sorted(took)[int(0.99 * (len(took) - 1))], 1),
        "calls": len(took),
        "cores": round(spent, 2),
        "log_lines": coordinator.log_lines(),
        "answers": dict(answers),
        "aims_met": memory < MEMORY_AIM_MB and median < MEDIAN_AIM_MS,
    }


async def _reported(flood: Awaitable[None]) -> None:
    """Prints it if the coordinator ends a flood in an unexpected way, so that the other floods continue."""
    try:
        await flood
    except grpc.aio.AioRpcError as error:
        print(json.dumps({"flood_ended": error.code().name, "details": error.details()}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--coordinator",
        type=Path,
        default=ROOT,
        metavar="CHECKOUT",
        help="Root of the checkout whose coordinator is flooded. The default is this one.",
    )
    parser.add_argument("--only", nargs="+", default=list(FLOODS), choices=list(FLOODS), metavar="FLOOD")
    parser.add_argument("--seconds", type=float, default=4.0, help="Seconds that each flood takes.")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        other.submit(os.getpid).result()  # waits until it has started and imported its modules
        for name in arguments.only:
            with tempfile.TemporaryDirectory(prefix="df-") as folder:
                coordinator = Coordinator(arguments.coordinator.absolute(), Path(folder))
                try:
                    figures = asyncio.run(measure(coordinator, FLOODS[name], arguments.seconds, other))
                finally:
                    coordinator.stop()
            print(json.dumps({"flood": name, **figures}), flush=True)


if __name__ == "__main__":
    main()
