"""How many runs train at a time: the decision, and the places that it gives to jobs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from detctl_agent.jobs.slots import Place, Slots
from detctl_agent.launcher.usage import ENOUGH_S, LOOK_S, Room, Usage, UsageMeter, machine_room
from detctl_agent.runs.side_by_side import is_on, side_by_side
from detctl_proto.recordings.side_by_side import SideBySide

GIB = 1024**3
SMALL = Usage(cores=1.0, memory_bytes=GIB // 2)
TWO_CORES = Room(cores=2, free_bytes=16 * GIB)


@pytest.mark.parametrize(
    ("usage", "room", "runs", "reason"),
    [
        (SMALL, TWO_CORES, 2, "fits"),
        (replace(SMALL, cores=0.2), TWO_CORES, 2, "fits"),  # it only waits, but it may also start to work
        (replace(SMALL, cores=1.1), TWO_CORES, 2, "fits"),
        (replace(SMALL, cores=1.4), TWO_CORES, 1, "cores"),
        (SMALL, Room(1, 16 * GIB), 1, "cores"),
        (replace(SMALL, cores=3.9), Room(16, 16 * GIB), 4, "fits"),
        (SMALL, Room(64, 640 * GIB), 8, "fits"),
        (replace(SMALL, memory_bytes=8 * GIB), TWO_CORES, 2, "fits"),
        (replace(SMALL, memory_bytes=9 * GIB), TWO_CORES, 1, "memory"),
        (replace(SMALL, gpu=True), TWO_CORES, 1, "gpu"),
        (replace(SMALL, ranks=2), TWO_CORES, 1, "ranks"),
        (replace(SMALL, listens=True), TWO_CORES, 1, "ports"),
        (replace(SMALL, writes="/data/last.pt"), TWO_CORES, 1, "writes"),
        (replace(SMALL, common_copy=True), TWO_CORES, 1, "copies"),
    ],
)
def test_as_many_runs_train_at_a_time_as_fit(usage: Usage, room: Room, runs: int, reason: str) -> None:
    found = side_by_side(usage, room)
    assert (found.runs, found.reason) == (runs, reason)


def test_threads_that_depend_on_the_load_are_left_alone() -> None:
    assert side_by_side(SMALL, TWO_CORES, omp_dynamic=True).reason == "omp-dynamic"
    assert is_on("TRUE") and is_on("1") and not is_on("false") and not is_on("")


def test_jobs_wait_until_one_of_their_configuration_was_measured() -> None:
    async def scene() -> None:
        slots = Slots(1)
        a, b = Place("a", may_share=True), Place("b", may_share=True)
        waiting = [asyncio.create_task(slots.take(place)) for place in (a, a, b, a)]
        await asyncio.sleep(0)
        assert slots.taken == 1
        slots.measured("a", SideBySide(2, "fits"))
        await asyncio.sleep(0)
        assert [task.done() for task in waiting] == [True, True, False, False]
        slots.give_back(a)
        await asyncio.sleep(0)
        assert slots.taken == 1, (
            "b was not measured, so it waits for an empty machine, and what comes later waits behind it"
        )
        slots.give_back(a)
        await asyncio.sleep(0)
        assert [task.done() for task in waiting] == [True, True, True, False]
        slots.measured("b", SideBySide(1, "cores"))
        await asyncio.sleep(0)
        assert slots.taken == 1
        slots.give_back(b)
        await asyncio.gather(*waiting)

    asyncio.run(scene())


def test_a_job_that_must_train_alone_never_shares() -> None:
    async def scene() -> None:
        slots = Slots(1)
        shared, alone = Place("a", may_share=True), Place("a", may_share=False)
        await slots.take(shared)
        slots.measured("a", SideBySide(4, "fits"))
        task = asyncio.create_task(slots.take(alone))
        await asyncio.sleep(0)
        assert not task.done()
        slots.give_back(shared)
        await task
        behind = asyncio.create_task(slots.take(shared))
        await asyncio.sleep(0)
        assert not behind.done()
        behind.cancel()
        await asyncio.gather(behind, return_exceptions=True)
        slots.give_back(alone)
        assert slots.taken == 0

    asyncio.run(scene())


def test_the_owner_may_allow_several_at_a_time_without_a_measurement() -> None:
    async def scene() -> None:
        slots = Slots(2)
        await slots.take(Place("a", may_share=False))
        await slots.take(Place("b", may_share=False))
        assert slots.taken == 2

    asyncio.run(scene())


BUSY = """
import os, socket, sys, threading, time
what = sys.argv[1]
if what == "writes":
    kept = open(sys.argv[2], "w")
if what == "listens":
    kept = socket.create_server(("127.0.0.1", 0))
print("up", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    if what == "idle":
        time.sleep(0.05)
"""


def _measured(tmp_path: Path, what: str, wanted: Callable[[Usage], bool]) -> Usage:
    own = tmp_path / "own"
    own.mkdir()
    place = tmp_path / "shared.txt" if what == "writes" else own / "private.txt"
    process = subprocess.Popen([sys.executable, "-S", "-c", BUSY, what, str(place)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        meter = UsageMeter(process.pid, (own,), time.monotonic())
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            time.sleep(LOOK_S / 4)
            meter.look(time.monotonic(), training=True)
            found = meter.usage()
            if meter.is_enough and found is not None and wanted(found):
                return found
        raise AssertionError(meter.usage())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_busy_process_counts_as_one_core_also_on_a_machine_with_others(tmp_path: Path) -> None:
    found = _measured(tmp_path, "busy", lambda usage: usage.cores > 0.7)
    assert found.cores < 1.2 and found.memory_bytes > 1024**2
    assert not (found.gpu or found.listens or found.writes)


def test_a_process_that_sleeps_hardly_counts(tmp_path: Path) -> None:
    assert _measured(tmp_path, "idle", lambda usage: usage.cores < 0.7).memory_bytes


def test_what_runs_would_share_is_seen(tmp_path: Path) -> None:
    assert _measured(tmp_path, "writes", lambda usage: True).writes.endswith("shared.txt")


def test_a_listening_socket_is_seen(tmp_path: Path) -> None:
    assert _measured(tmp_path, "listens", lambda usage: True).listens


def test_nothing_is_known_of_a_process_that_is_gone() -> None:
    meter = UsageMeter(2**22, (), 0.0)
    meter.look(ENOUGH_S, training=True)
    assert meter.usage() is None


def test_the_room_of_this_machine_is_known() -> None:
    room = machine_room()
    assert 1 <= room.cores <= (os.cpu_count() or 1) and room.free_bytes > 0
