"""Whatever strangers send, and in whatever order it arrives between what the holder sends: the stored run is what the holder sent."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detctl_coordinator.domain.identity import LOCAL, Caller, Role
from detctl_coordinator.planning.imports import plan_import
from detctl_coordinator.planning.run_holders import Sender, new_secret
from detctl_coordinator.rpc.ingest_stream import IngestStream
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.reading.verify import verify
from detctl_coordinator.storage.sqlite.store import SqliteStore
from detctl_proto.v1 import agents_pb2 as pb
from detctl_proto.v1 import records_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "coordinator"))

from made_up_runs import Sample, make

HOLDER = Sender(Caller("sue", Role.SUBMITTER), peer="ipv4:127.0.0.1:1")
STRANGERS = (
    Sender(Caller("mallory", Role.SUBMITTER)),
    Sender(Caller("root", Role.ADMIN)),
    Sender(Caller("host", Role.MACHINE), machine="host"),  # the name on the folder's label
    Sender(LOCAL),
    Sender(LOCAL, machine="host"),
)
SECRETS = ("right", "", "guess", "digest")  # right: mallory has read it somewhere


@dataclass(frozen=True)
class Forged:
    """A message of a stranger's: what it says, and what it shows."""

    sender: int
    secret: str
    salt: str  # of its content; empty: as the holder's
    rank: int
    at: int  # which segment, the last one: the seal
    attempt: int
    harm: str

    def request(self, run_id: str, secrets: dict[str, str]) -> pb.IngestRequest:
        sample = make(run_id, self.attempt, steps=5, differs_from_step=0, salt=self.salt, rank=self.rank)
        request = pb.IngestRequest(secret=secrets[self.secret])
        if self.at == 5:
            request.seal.CopyFrom(sample.seal)
            return request
        segment = sample.segments[self.at]
        if self.harm == "checksum":
            segment.crc32 ^= 1
        elif self.harm == "no zlib":
            segment.columns, segment.crc32 = b"x", zlib.crc32(b"x")
        request.segment.CopyFrom(segment)
        return request


forged = st.builds(
    Forged,
    sender=st.integers(0, len(STRANGERS) - 1),
    secret=st.sampled_from(SECRETS),
    salt=st.sampled_from(["", "forged"]),
    rank=st.integers(0, 1),
    at=st.integers(0, 5),
    attempt=st.integers(0, 2),
    harm=st.sampled_from(["", "checksum", "no zlib"]),
)


class Stream:
    """An open data stream whose messages are given one by one."""

    def __init__(self, engine: Engine, sender: Sender) -> None:
        self._sent: asyncio.Queue[pb.IngestRequest | None] = asyncio.Queue()
        self._replies = IngestStream(engine, sender).serve(self._messages())

    async def _messages(self) -> AsyncIterator[pb.IngestRequest]:
        while (request := await self._sent.get()) is not None:
            yield request

    async def send(self, request: pb.IngestRequest) -> pb.IngestReply:
        self._sent.put_nowait(request)
        return await anext(self._replies)

    async def close(self) -> None:
        self._sent.put_nowait(None)
        assert [reply async for reply in self._replies] == []


def requests_of(sample: Sample, secret: str) -> list[pb.IngestRequest]:
    parts: list[Any] = [*sample.segments, sample.seal]
    return [
        pb.IngestRequest(**{"seal" if isinstance(part, records_pb2.Seal) else "segment": part}, secret=secret)
        for part in parts
    ]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 5), forged), max_size=12), st.booleans())
def test_the_stored_run_is_what_its_holder_sent(attacks: list[tuple[int, Forged]], twice: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_attacked(Path(folder), attacks, twice))


async def _attacked(folder: Path, attacks: list[tuple[int, Forged]], twice: bool) -> None:
    store = AsyncStore(SqliteStore(folder / "store.db"))
    engine = Engine(store, lease_s=60.0, machine_timeout_s=60.0)
    secret, digest = new_secret()
    audit = await store.put_audit(plan_import("host/default/base/twin-0", {}, 0.0, "sue", digest))
    (run_id,) = audit.runs
    await store.open_attempt(run_id, 1)
    secrets = {"right": secret, "": "", "guess": "x" * len(secret), "digest": digest}
    honest = make(run_id, 1, steps=5)
    holder, strangers = Stream(engine, HOLDER), [Stream(engine, sender) for sender in STRANGERS]
    for position, request in enumerate(requests_of(honest, secret)):
        for where, attack in attacks:
            if where == position:
                reply = await strangers[attack.sender].send(attack.request(run_id, secrets))
                assert reply.refused and not reply.fenced, (attack, reply)
        for _ in range(2 if twice else 1):
            reply = await holder.send(request)
            assert not reply.refused and not reply.fenced, reply
    for stream in (holder, *strangers):
        await stream.close()

    stored = store.inner
    assert verify(stored, run_id, blobs=True) == [] and list(stored.seals(run_id)) == [0]
    numbers = range(len(honest.segments))
    assert stored.segment_columns(run_id, 0, numbers) == {n: honest.segments[n].columns for n in numbers}
    assert {key.rank for key in stored.streams(run_id)} == {0}
    run = stored.run(run_id)
    assert run is not None and replace(run, spec=audit.runs[run_id].spec) == audit.runs[run_id], (
        "untouched by all of it"
    )
    logged = stored.log()
    assert len(logged) == len({STRANGERS[attack.sender] for where, attack in attacks}), "one entry a caller"
    assert all(entry["event"] == "refused" and entry["who"] != "sue" for _, entry in logged)
    store.close()
