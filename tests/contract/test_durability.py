"""Acknowledged means present, byte for byte; present means it was sent. The process that holds the store is killed under load."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Collection
from pathlib import Path
from random import Random

import pytest
from detctl_coordinator.domain.fingerprint import Stage, StreamKey
from detctl_coordinator.storage.store import Store, StoreError
from givens import a_segment, an_entry, opened
from places import Place

RANKS = 4
SIZE = 9000


def assert_holds(store: Store, acknowledged: Collection[tuple[int, int]]) -> None:
    """All that was acknowledged is there, and all that is there is what was sent, segment and index alike."""
    for rank in range(RANKS):
        numbers = [meta.number for meta in store.segment_metas("run-1", rank)]
        assert {number for at, number in acknowledged if at == rank} <= set(numbers)
        assert numbers == list(range(len(numbers)))  # each thread sent in order
        blobs = store.segment_columns("run-1", rank, numbers)
        assert all(blobs[number] == a_segment(number, rank, SIZE)[1] for number in numbers)
        key = StreamKey(rank, Stage.FORWARD)
        assert store.streams("run-1").get(key, 0) == 2 * len(numbers)
        entries = store.entries("run-1", key, 0, 2 * len(numbers))
        assert entries == [an_entry(ordinal) for ordinal in range(2 * len(numbers))]


@pytest.mark.parametrize("seed", range(3))
def test_sqlite_survives_the_death_of_its_process(tmp_path: Path, seed: int) -> None:
    enough = Random(seed).randrange(20, 120)
    place = Place("sqlite", tmp_path, None)
    command = [sys.executable, str(Path(__file__).with_name("writer_process.py")), str(tmp_path / "store.db")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if len(lines) == enough:
                process.kill()  # what it still said before it died counts too
    assert process.returncode == -9
    acknowledged = {
        (int(rank), int(number)) for rank, number in (line.split() for line in lines if line.endswith("\n"))
    }
    assert len(acknowledged) >= enough
    store = place.open()
    try:
        assert_holds(store, acknowledged)
        store.put_segment("run-1", 1, *a_segment(0, rank=RANKS))
    finally:
        place.remove()


@pytest.mark.parametrize("seed", range(2))
def test_redis_survives_the_death_of_its_server(server_place: Place, seed: int) -> None:
    place = server_place
    assert place.server is not None
    enough = Random(seed).randrange(20, 120)
    store = place.open()
    opened(store)
    acknowledged: list[tuple[int, int]] = []
    loaded = threading.Event()

    def write(rank: int) -> None:
        for number in range(100_000):
            try:
                store.put_segment("run-1", 1, *a_segment(number, rank, SIZE))
            except StoreError:
                return
            acknowledged.append((rank, number))
            if len(acknowledged) >= enough:
                loaded.set()

    threads = [threading.Thread(target=write, args=(rank,)) for rank in range(RANKS)]
    for thread in threads:
        thread.start()
    assert loaded.wait(60)
    place.server.kill()
    for thread in threads:
        thread.join()  # each ended with a StoreError: a dead server acknowledges nothing
    place.server.start()
    assert_holds(store, acknowledged)  # the same client finds the server again
    store.put_segment("run-1", 1, *a_segment(0, rank=RANKS))
