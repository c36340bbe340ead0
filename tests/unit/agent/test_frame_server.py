"""Processes that send more than anybody should hold: real sockets, one budget, and a run that says what it lost."""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from detctl_agent.recording import frame_budget, ranks, records
from detctl_agent.recording.frame_budget import CONNECTIONS_MAX, STALLED_S, FrameBudget
from detctl_agent.recording.frame_server import FrameServer
from detctl_agent.recording.ranks import Message, Ranks
from detctl_agent.recording.records import JSON_BYTES_MAX
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.transport import chain, frames
from detctl_probe.transport.frames import FRAME_BYTES_MAX

MIB = 1 << 20
OTHER = 50  # a kind of a newer probe: taken and left alone
HELLO = frames.json_frame(frames.HELLO, {"v": 1, "pid": 7})


class House:
    """A server with its loop, which runs when `pump` is called, and the clock that the test sets."""

    def __init__(self, path: Path, budget: FrameBudget | None) -> None:
        self.now, self.messages = 0.0, list[Message]()
        self.selector = selectors.DefaultSelector()
        self.ranks = Ranks("run", 1, "module", lambda: self.now)
        self.path, self.budget = path, budget
        self.server = FrameServer(
            path, self.selector, self.ranks, self.messages.extend, budget=budget, clock=lambda: self.now
        )
        self.clients: list[socket.socket] = []

    def connect(self, first: bytes = HELLO) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.clients.append(client)
        client.connect(str(self.path))
        client.setblocking(False)
        client.send(first)
        self.pump()
        return client

    def pump(self) -> None:
        """Until nothing is left to do."""
        while ready := self.selector.select(0):
            for key, _ in ready:
                key.data()
            self.server.tick()
        self.server.tick()

    def send(self, client: socket.socket, data: bytes) -> int:
        """How much of it was taken before the socket was full and nobody read on."""
        sent = 0
        while sent < len(data):
            try:
                sent += client.send(data[sent : sent + MIB])
            except BlockingIOError:
                before = self.selector.select(0)
                self.pump()
                if not before and not self.selector.select(0):
                    try:
                        sent += client.send(data[sent : sent + MIB])
                    except BlockingIOError:
                        return sent
            except (BrokenPipeError, ConnectionResetError):
                return sent
        self.pump()
        return sent

    def is_closed(self, client: socket.socket) -> bool:
        self.pump()
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def seal(self) -> dict[str, object]:
        """What a training process that does all as it should is sealed with."""
        value = Fingerprint(b"x" * 16, "float32", (2,))
        fold = chain.StepFold()
        fold.take(chain.record_hash("root", 0, value.dtype, value.shape, value.digest, None))
        stream = {"steps": 1, "count": 1, "chain": chain.chain(chain.ZERO, 0, fold.digest).hex()}
        record = frames.pack_record(0, 8, 0, 0, 0, 0, "root", value)
        client = self.connect()
        self.send(client, frames.frame(frames.RECORDS, record) + frames.step_frame(0, False))
        self.send(client, frames.json_frame(frames.SEAL, {"reason": "exit", "streams": {"forward/train": stream}}))
        (seal,) = [message.seal for message in self.messages if message.WhichOneof("kind") == "seal"]
        return {"complete": seal.complete, **json.loads(seal.detail_json)}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def make(budget: FrameBudget | None = None) -> House:
        made.append(House(tmp_path / f"s{len(made)}", budget))
        return made[-1]

    yield make
    for one in made:
        for client in one.clients:
            client.close()
        with contextlib.suppress(OSError, ValueError):
            one.server.close()
        one.selector.close()


def head(size: int, kind: int = OTHER) -> bytes:
    return struct.pack("<IB", size, kind)


def test_unfinished_frames_of_many_connections_share_one_budget(house: Callable[..., House]) -> None:
    """The sample: each connection sends all but the end of a frame of 64 MiB."""
    place = house()
    piece = head(FRAME_BYTES_MAX) + bytes(8 * MIB)
    taken = [place.send(place.connect(), piece) for _ in range(48)]
    whole = [size for size in taken if size == len(piece)]
    assert len(whole) == frame_budget.TRAINING_BYTES_MAX // (FRAME_BYTES_MAX + 4) == 1
    # The others: what was read before the frame's size was known, and what lies in the socket.
    assert max(size for size in taken if size != len(piece)) < 2 * MIB
    assert sum(taken) < 48 * 8 * MIB / 4


def test_trainings_share_the_budget_of_the_process(house: Callable[..., House]) -> None:
    process = FrameBudget(2 * MIB, 100)
    first, second = (house(FrameBudget(4 * MIB, 100, process)) for _ in range(2))
    one, other = first.connect(), second.connect()
    piece = head(3 * MIB // 2) + bytes(MIB)
    assert first.send(one, piece) == len(piece)
    assert second.send(other, piece) < len(piece)
    one.close()
    first.pump()
    assert second.send(other, bytes(MIB)) > 0
    second.pump()
    other.close()
    second.pump()
    assert process.taken == (0, 0)


def test_frames_that_waited_all_arrive(house: Callable[..., House]) -> None:
    place = house(FrameBudget(MIB + 1024, 100))
    left = {place.connect(): head(MIB) + bytes(MIB - 1) for _ in range(6)}
    while left:
        before = sum(map(len, left.values()))
        for client, data in list(left.items()):
            left[client] = data[place.send(client, data) :]
            if not left[client]:
                del left[client]
        assert sum(map(len, left.values())) < before, "nobody is read any more"
    assert place.budget is not None and place.budget.taken == (0, 6)
    assert place.seal()["complete"] is True


def test_who_keeps_room_without_need_is_disconnected_and_the_run_says_so(house: Callable[..., House]) -> None:
    place = house(FrameBudget(2 * MIB, 100))
    idle, busy = place.connect(), place.connect()
    place.send(idle, head(2 * MIB - 4) + b"x")
    place.send(busy, head(MIB) + bytes(MIB // 2))
    place.now = STALLED_S - 1
    assert not place.is_closed(idle)
    place.now = STALLED_S + 1
    assert place.is_closed(idle) and not place.is_closed(busy)
    place.send(busy, bytes(MIB - MIB // 2 - 1))
    sealed = place.seal()
    assert sealed["complete"] is False and "but not within 30 s" in str(sealed["mismatch"])


def test_a_slow_frame_is_left_alone_while_nobody_waits(house: Callable[..., House]) -> None:
    place = house(FrameBudget(2 * MIB, 100))
    slow = place.connect()
    place.send(slow, head(2 * MIB - 4) + b"x")
    place.now = 100 * STALLED_S
    assert not place.is_closed(slow)
    place.send(slow, bytes(2 * MIB - 6))
    assert place.seal()["complete"] is True


def test_no_large_frame_before_a_hello(house: Callable[..., House]) -> None:
    place = house()
    stranger = place.connect(head(JSON_BYTES_MAX + 1))
    assert place.is_closed(stranger)
    long_hello = frames.json_frame(frames.HELLO, {"v": 1, "argv": ["x" * 300_000]})
    client = place.connect(b"")
    assert place.send(client, long_hello) == len(long_hello)
    assert not place.is_closed(client)
    sealed = place.seal()
    assert sealed["complete"] is False and "before the HELLO" in str(sealed["mismatch"])


def test_more_connections_than_allowed_are_refused_and_the_run_says_so(house: Callable[..., House]) -> None:
    place = house(FrameBudget(MIB, 3))
    held = [place.connect() for _ in range(3)]
    assert not any(map(place.is_closed, held))
    late = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    place.clients.append(late)
    late.connect(str(place.path))
    late.setblocking(False)
    assert place.is_closed(late)
    held[0].close()
    place.pump()
    sealed = place.seal()  # one that may connect again
    assert sealed["complete"] is False and "more than 3 processes at a time" in str(sealed["mismatch"])


def test_what_real_trainings_open_is_allowed(house: Callable[..., House]) -> None:
    """16 ranks with 64 DataLoader workers each: more than any node that we know of."""
    assert CONNECTIONS_MAX > 16 * 65
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 16 * 65
    if hard != resource.RLIM_INFINITY and hard < 3 * count:
        pytest.skip(f"this machine allows {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * count), hard))
    try:
        place = house(FrameBudget(MIB, CONNECTIONS_MAX))
        for _ in range(count):
            place.connect()
        assert place.server.connections == count
        assert place.seal()["complete"] is True
    finally:
        for one in place.clients:
            one.close()
        place.server.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_waits_when_the_tree_is_gone_is_still_taken(house: Callable[..., House]) -> None:
    place = house(FrameBudget(MIB, 10))
    first, second = place.connect(), place.connect()
    large = 200_000  # fits into a socket with what was read of it
    place.send(first, head(900_000) + bytes(10))
    sent = place.send(second, head(large) + bytes(large - 1))
    assert sent == large + 4
    first.close()
    second.close()
    place.server.drain()
    assert place.budget is not None and place.budget.taken == (0, 0)


def test_what_is_held_back_of_all_processes_is_limited(
    monkeypatch: pytest.MonkeyPatch, house: Callable[..., House]
) -> None:
    monkeypatch.setattr(ranks, "HELD_BYTES_TOTAL", 10_000)
    monkeypatch.setattr(ranks, "KEPT_BYTES_TOTAL", 10_000)
    place = house()
    listing = frames.pack_record(0, 1, 0, 0, 0, 0, "files", Fingerprint(b"x" * 16, "str", (2,)), {"names": "x" * 6000})
    workers = [place.connect() for _ in range(3)]
    for worker in workers:
        place.send(worker, frames.frame(frames.RECORDS, listing))
    assert not any(map(place.is_closed, workers))  # what is over is dropped; a rank that it belongs to is not complete
    note = frames.json_frame(frames.NOTE, {"kind": "seed", "text": "x" * 6000})
    place.send(workers[0], note)
    place.send(workers[1], note)
    assert place.is_closed(workers[1]) and not place.is_closed(workers[0])
    stepping = place.connect()
    place.send(stepping, frames.step_frame(0, False) * 1000)
    assert place.is_closed(stepping)


def test_names_that_are_looked_up_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "IDENTITIES_BYTES_MAX", 100_000)
    table = records.Identities()
    parsers = [records.RecordParser(table) for _ in range(4)]
    for number in range(400):
        value = Fingerprint(b"x" * 16, "float32", (2,))
        site = f"{number}" + "x" * 4000
        (found,) = parsers[number % 4].parse(frames.pack_record(0, 8, 0, 0, 0, 0, site, value))
        assert found.identity.site.startswith(f"{number}x")
        assert sum(map(len, table.known)) <= 100_000
