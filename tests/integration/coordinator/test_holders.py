"""Who may write to a run, over real TLS with two submitters: its holder alone, whatever anybody else sends, on both kinds of store."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from conftest import started
from detctl_proto.v1 import admin_pb2, admin_pb2_grpc, agents_pb2_grpc, audits_pb2_grpc, records_pb2
from detctl_proto.v1 import agents_pb2 as agents
from detctl_proto.v1 import audits_pb2 as pb
from made_up_runs import Sample, make
from tls_site import Site

DENIED = grpc.StatusCode.PERMISSION_DENIED
JOIN_ONLY = pb.AuditRequest(recipe="toy", machines=["gpu1", "gpu2"], twins=1, join_only=True, step_to=4)


@pytest.fixture(params=["sqlite", "redis"])
def site(request: pytest.FixtureRequest, folder: Path) -> Iterator[Site]:
    """With two submitters, sue and mallory, a viewer, bob, and a machine, gpu1."""
    options = {"store": request.getfixturevalue("redis_url")} if request.param == "redis" else {}
    for up in started(Site(folder), **options):
        for name, role in (("sue", "submitter"), ("mallory", "submitter"), ("bob", "viewer"), ("gpu1", "machine")):
            up.add(name, role)
        yield up


class User:
    """Calls of one holder of a certificate and a token."""

    def __init__(self, site: Site, name: str, channel: grpc.aio.Channel, machine: str = "") -> None:
        self.name, self._site, self._channel = name, site, channel
        self.metadata = site.token(name) + ([("detctl-machine", machine)] if machine else [])
        self.audits = audits_pb2_grpc.AuditsStub(channel)

    async def start(self, *joiners: str) -> str:
        request = pb.AuditRequest()
        request.MergeFrom(JOIN_ONLY)
        request.joiners.extend(joiners)
        plan = await self.audits.StartAudit(request, metadata=self.metadata)
        return str(plan.audit_id)

    async def join(self, audit_id: str, machine: str, holder: str = "h", *, again: bool = False) -> pb.JoinReply:
        request = pb.JoinRequest(audit_id=audit_id, machine=machine, holder=holder, again=again)
        reply: pb.JoinReply = await self.audits.JoinAudit(request, metadata=self.metadata)
        return reply

    async def send(self, parts: list[Any], secret: str = "") -> list[agents.IngestReply]:
        """Segments and seals; one reply for each."""
        kinds = [{"seal" if isinstance(part, records_pb2.Seal) else "segment": part} for part in parts]
        requests = [agents.IngestRequest(**kind, secret=secret) for kind in kinds]
        stub = agents_pb2_grpc.AgentsStub(self._channel)
        return [reply async for reply in stub.Ingest(iter(requests), metadata=self.metadata)]

    async def finish(self, run_id: str, secret: str = "", end: str = "exit") -> None:
        request = pb.ImportFinished(run_id=run_id, end=end, ranks=1, secret=secret)
        await self.audits.FinishImport(request, metadata=self.metadata)

    async def imported(self, label: str = "host/default/base/twin-0") -> pb.ImportReply:
        request = pb.ImportRequest(label=label, run_json="{}")
        reply: pb.ImportReply = await self.audits.ImportRun(request, metadata=self.metadata)
        return reply

    async def states(self, audit_id: str) -> dict[str, tuple[str, str]]:
        runs = (await self.audits.ListRuns(pb.ListRequest(audit_id=audit_id), metadata=self.metadata)).runs
        return {run.status.machine: (run.status.state, run.status.message) for run in runs}

    async def verdict(self, audit_id: str) -> dict[str, Any]:
        watch = self.audits.WatchAudit(pb.AuditRef(audit_id=audit_id), metadata=self.metadata)
        verdict: dict[str, Any] = json.loads([one async for one in watch][-1].verdict_json)
        return verdict


@contextlib.asynccontextmanager
async def user(site: Site, name: str, machine: str = "") -> AsyncIterator[User]:
    async with site.channel(name) as channel:
        yield User(site, name, channel, machine)


async def log(site: Site, event: str = "refused") -> list[dict[str, Any]]:
    """Entries of the append-only log, oldest first, with who, text and detail."""
    async with site.channel("admin") as channel:
        stub = admin_pb2_grpc.AdminStub(channel)
        page = await stub.ReadLog(admin_pb2.LogRequest(limit=1000), metadata=site.token("admin"))
    return [
        {"who": one.who, "text": one.text, "machine": one.machine, "audit": one.audit_id, **json.loads(one.detail_json)}
        for one in reversed(page.entries)
        if one.event == event
    ]


def all_of(sample: Sample) -> list[Any]:
    return [*sample.segments, sample.seal]


def taken(replies: list[agents.IngestReply]) -> bool:
    return not any(reply.refused or reply.fenced for reply in replies)


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


async def test_a_forged_identical(site: Site) -> None:
    """The stranger sends first what the other run has; the owner's own, which differs, must be what is compared."""
    async with user(site, "sue") as sue, user(site, "mallory") as mallory:
        audit_id = await sue.start()
        runs = {machine: await sue.join(audit_id, machine, machine) for machine in ("gpu1", "gpu2")}
        forged = make(runs["gpu2"].run_id, 1)
        for guess in ("", "guess", runs["gpu1"].secret):
            replies = await mallory.send(all_of(forged), guess)
            assert all("belongs to sue, not to mallory" in reply.refused for reply in replies), replies
        for machine, salt in (("gpu1", ""), ("gpu2", "other")):
            run = runs[machine]
            sample = make(run.run_id, 1, differs_from_step=2, salt=salt)
            assert taken(await sue.send(all_of(sample), run.secret))
            assert (await code_of(mallory.finish(run.run_id, "guess")))[0] is DENIED
            await sue.finish(run.run_id, run.secret)
        verdict = await sue.verdict(audit_id)
        assert verdict["outcome"] == "different" and verdict["first_divergence"]["step"] == 2, verdict["outcome"]


async def test_the_owner_hears_of_it_where_a_number_is_taken_by_other_content(site: Site) -> None:
    """Never acknowledged and dropped: the run is unverified, and says why."""
    async with user(site, "sue") as sue:
        audit_id = await sue.start()
        first, second = await sue.join(audit_id, "gpu1", "a"), await sue.join(audit_id, "gpu2", "b")
        sample, other = (make(first.run_id, 1, differs_from_step=1, salt=salt) for salt in ("", "other"))
        replies = await sue.send([*sample.segments, *other.segments], first.secret)
        assert [bool(reply.refused) for reply in replies] == [False] * 5 + [True] * 3
        assert "segment 1 of rank 0 was sent before with other content" in replies[5].refused
        await sue.send(all_of(make(second.run_id, 1)), second.secret)
        await sue.finish(second.run_id, second.secret)
        assert (await sue.verdict(audit_id))["outcome"] == "unverified"
        state, message = (await sue.states(audit_id))["gpu1"]
        assert state == "failed" and "contradicting data arrived: segment 1 of rank 0" in message
    assert [(one["who"], one["kind"]) for one in await log(site)] == [("sue", "other-content")]


async def test_after_the_seal_and_after_the_end_nothing_new_is_taken(site: Site) -> None:
    async with user(site, "sue") as sue:
        run = await sue.imported()
        sample = make(run.run_id, 1)
        late, rank_1 = make(run.run_id, 1, steps=6), make(run.run_id, 1, rank=1)
        assert taken(await sue.send(all_of(sample), run.secret))
        await sue.finish(run.run_id, run.secret)
        for parts in (late.segments[4:], all_of(rank_1), [late.seal]):
            replies = await sue.send(parts, run.secret)
            assert all(reply.refused for reply in replies), replies
        assert taken(await sue.send(all_of(sample), run.secret)), "an acknowledgement was lost: sent again"
        await sue.finish(run.run_id, run.secret)
        code, details = await code_of(sue.finish(run.run_id, run.secret, "timeout"))
        assert code is grpc.StatusCode.FAILED_PRECONDITION and "with another outcome" in details
        ((state, _),) = (await sue.states(run.run_id.partition(".")[0])).values()
        assert state == "sealed"
        shown = json.loads((await sue.audits.Show(pb.ShowRequest(id=run.run_id), metadata=sue.metadata)).json)
        assert list(shown["seals"]) == ["0"] and shown["seals"]["0"]["segments"] == 4

        sealed = await sue.imported()
        assert taken(await sue.send(all_of(make(sealed.run_id, 1)), sealed.secret))
        (reply,) = await sue.send(make(sealed.run_id, 1, steps=5).segments[4:], sealed.secret)
        assert "arrived after the seal of its rank" in reply.refused


async def test_damaged_data_of_a_stranger_harm_nobody_and_the_log_names_the_sender(site: Site) -> None:
    async with user(site, "sue") as sue, user(site, "mallory") as mallory, user(site, "gpu1", "gpu1") as gpu1:
        run = await sue.imported("gpu1/default/base/twin-0")  # an agent of that name has nothing to do with it
        bad = make(run.run_id, 1).segments[0]
        bad.crc32 ^= 1
        for _ in range(30):
            for stranger in (mallory, gpu1):
                assert all(reply.refused for reply in await stranger.send([bad, make(run.run_id, 1).segments[1]], "x"))
        async with user(site, "bob") as bob:
            assert (await code_of(bob.send([bad])))[0] is DENIED
        assert all("upgrade detctl" in reply.refused for reply in await sue.send([bad])), "an older command line"
        assert taken(await sue.send(all_of(make(run.run_id, 1)), run.secret))
        await sue.finish(run.run_id, run.secret)
        assert (await sue.states(run.run_id.partition(".")[0]))["gpu1"][0] == "sealed"

        mine = await sue.imported()
        await sue.send([make(mine.run_id, 1).segments[1], bad_of(mine.run_id)], mine.secret)
        state, message = (await sue.states(mine.run_id.partition(".")[0]))["host"]
        assert state == "failed" and "damaged data arrived" in message and "checksum" in message
    entries = await log(site)
    told = [(one["who"], one["kind"], one["role"]) for one in entries if run.run_id in one["text"]]
    assert sorted(told) == [
        ("gpu1", "not-holder", "machine"), ("mallory", "not-holder", "submitter"), ("sue", "not-holder", "submitter"),
    ], "one entry a caller, run and kind, however much was sent"  # fmt: skip
    assert all("ipv4:127.0.0.1" in one["peer"] or "ipv6:" in one["peer"] for one in entries), entries
    assert ("sue", "damaged") in [(one["who"], one["kind"]) for one in entries]
    written = site.process.log.read_text()
    lines = [line for line in written.splitlines() if "who=mallory" in line]
    assert len(lines) == 1 and "role=submitter" in lines[0] and "peer=ipv" in lines[0] and run.run_id in lines[0]


def bad_of(run_id: str) -> records_pb2.Segment:
    segment = make(run_id, 1).segments[0]
    segment.crc32 ^= 1
    return segment


async def test_who_may_take_a_run_over_and_the_old_secret_ends(site: Site) -> None:
    async with user(site, "sue") as sue, user(site, "mallory") as mallory, user(site, "admin") as admin:
        audit_id = await mallory.start("sue")
        first = await sue.join(audit_id, "gpu1", "sue-1")
        async with user(site, "bob") as bob:
            assert (await code_of(bob.join(audit_id, "gpu1")))[0] is DENIED
        alone = await mallory.start()
        code, details = await code_of(sue.join(alone, "gpu1"))
        assert code is DENIED and "started by mallory, and sue may not join its runs" in details
        assert {state for state, _ in (await sue.states(alone)).values()} == {"waiting"}
        theirs = await mallory.start("sue")
        held = await mallory.join(theirs, "gpu1")
        code, details = await code_of(sue.join(theirs, "gpu1", "mine", again=True))
        assert code is DENIED and "belong to mallory" in details
        code, details = await code_of(sue.join(theirs, "gpu1", "h", again=True))
        assert code is DENIED, "the name that another holder gave is not a secret"

        parts = make(first.run_id, 1).segments[:2]
        assert taken(await sue.send(parts, first.secret))
        again = await sue.join(audit_id, "gpu1", "sue-1")
        assert (again.run_id, again.attempt) == (first.run_id, 1) and again.secret != first.secret
        assert all("another holder now" in reply.refused for reply in await sue.send(parts, first.secret))
        assert taken(await sue.send(parts, again.secret)), "asked again: what was sent before is kept"

        over = await sue.join(audit_id, "gpu1", "sue-2", again=True)
        assert (over.run_id, over.attempt) == (first.run_id, 2)
        assert all(reply.fenced for reply in await sue.send(parts, again.secret))
        newer = make(first.run_id, 2).segments[:1]
        assert all(reply.refused for reply in await sue.send(newer, again.secret))
        assert taken(await sue.send(newer, over.secret))

        by_owner = await mallory.join(audit_id, "gpu1", "m", again=True)  # who started the audit
        assert (by_owner.run_id, by_owner.attempt) == (first.run_id, 3)
        assert all("belongs to mallory" in reply.refused for reply in await sue.send(newer, over.secret))
        assert (await code_of(sue.finish(first.run_id, over.secret, "lost")))[0] is DENIED
        by_admin = await admin.join(theirs, "gpu1", "root", again=True)
        assert (by_admin.run_id, by_admin.attempt) == (held.run_id, 2)
    assert [one["text"].partition(", taken")[2] for one in await log(site, "run-joined")] == [
        "", "", "", " over from sue", " over from mallory",
    ]  # fmt: skip
    assert {(one["who"], one["kind"]) for one in await log(site)} >= {("sue", "join"), ("sue", "finish")}


async def test_an_audit_is_cancelled_and_explained_by_who_started_it_or_an_administrator(site: Site) -> None:
    async with user(site, "sue") as sue, user(site, "mallory") as mallory, user(site, "admin") as admin:
        for canceller in (sue, admin):
            audit_id = await sue.start()
            ref = pb.AuditRef(audit_id=audit_id)
            code, details = await code_of(mallory.audits.CancelAudit(ref, metadata=mallory.metadata))
            assert code is DENIED and "only sue and administrators may cancel it" in details
            request = pb.ExplainRequest(audit_id=audit_id)
            assert (await code_of(mallory.audits.ExplainAudit(request, metadata=mallory.metadata)))[0] is DENIED
            assert {state for state, _ in (await sue.states(audit_id)).values()} == {"waiting"}
            assert (await code_of(canceller.audits.CancelAudit(ref, metadata=canceller.metadata)))[0].name == "OK"
            assert {state for state, _ in (await sue.states(audit_id)).values()} == {"cancelled"}
        run = await sue.imported()
        ref = pb.AuditRef(audit_id=run.run_id.partition(".")[0])
        assert (await code_of(mallory.audits.CancelAudit(ref, metadata=mallory.metadata)))[0] is DENIED
        assert taken(await sue.send(all_of(make(run.run_id, 1)), run.secret))
        assert (await code_of(sue.audits.CancelAudit(ref, metadata=sue.metadata)))[0].name == "OK"
        replies = await sue.send(make(run.run_id, 1, rank=1).segments, run.secret)
        assert all(reply.fenced and "has ended" in reply.refused for reply in replies)
    assert [one["who"] for one in await log(site, "cancel-requested")] == ["sue", "local", "sue"]
    assert sorted((one["who"], one["kind"]) for one in await log(site)) == [
        *[("mallory", "cancel")] * 3, *[("mallory", "explain")] * 2, ("sue", "run-over"),
    ]  # fmt: skip


async def test_an_agent_says_nothing_of_runs_that_users_send(site: Site) -> None:
    agent = site.agent("gpu1")
    async with user(site, "sue") as sue:
        run = await sue.imported("gpu1/default/base/twin-0")
        stream = asyncio.create_task(agent.serve_once())
        await asyncio.wait_for(agent.welcomed.wait(), 20)
        agent.say(run_state=agents.RunState(run_id=run.run_id, attempt=1, phase=agents.RUN_PHASE_ENDED, end="exit"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(stream, 20)
        assert caught.value.code() is DENIED and "belongs to a user" in (caught.value.details() or "")
        assert (await sue.states(run.run_id.partition(".")[0]))["gpu1"][0] == "running"
    assert [(one["who"], one["kind"]) for one in await log(site)] == [("gpu1", "state-of-another")]


async def test_no_secret_is_shown_logged_or_stored(site: Site) -> None:
    async with user(site, "sue") as sue:
        audit_id = await sue.start()
        joined, imported = await sue.join(audit_id, "gpu1"), await sue.imported()
        await sue.send(make(joined.run_id, 1).segments, joined.secret)
        await sue.send(make(imported.run_id, 1).segments, joined.secret)
        shown = [
            str(await sue.audits.Show(pb.ShowRequest(id=name), metadata=sue.metadata))
            for name in (audit_id, joined.run_id, imported.run_id)
        ]
        shown.append(str(await sue.audits.ListRuns(pb.ListRequest(), metadata=sue.metadata)))
    assert all(len(one.secret) >= 40 for one in (joined, imported)) and joined.secret != imported.secret
    files = [site.process.log, *site.folder.glob("store.sqlite*"), *site.folder.glob("appendonlydir/*")]
    written = b"".join(path.read_bytes() for path in files) + "".join(shown).encode()
    assert [one for one in (joined.secret, imported.secret) if one.encode() in written] == []
    assert not any("secret" in text for text in shown)


async def test_the_name_of_the_coordinators_own_user_is_nobody_elses(site: Site) -> None:
    done = site.detctl("token", "create", "--role", "submitter", "--name", "local")
    assert done.returncode == 2 and "coordinator's own user" in done.stderr and done.stderr.count("\n") == 1
