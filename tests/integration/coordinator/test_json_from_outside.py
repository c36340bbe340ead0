"""JSON that somebody sends cannot blind anybody: it is refused with one line, or what cannot be written of it becomes an escape."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import grpc
import pytest
from coordinator_processes import RedisProcess, coordinator
from detctl_proto.v1 import admin_pb2, admin_pb2_grpc, agents_pb2, agents_pb2_grpc
from detctl_proto.v1 import audits_pb2 as pb
from detctl_proto.v1.audits_pb2_grpc import AuditsStub
from fake_agent import OPTIONS
from made_up_runs import Sample, make

LABEL = "host/default/base/twin-0"
DEEP = '{"a":' * 980 + "1" + "}" * 980

REFUSED = {
    "surrogate": ('{"recipe": "\\ud800"}', "run.json: at .recipe: text with a lone surrogate or a NUL"),
    "surrogate in a key": ('{"x": {"\\udfff": 1}}', "run.json: at .x: the key '\\udfff' holds a lone surrogate"),
    "surrogate elsewhere": ('{"command": ["\\udc80"]}', "run.json: at .command[0]: text with a lone surrogate"),
    "depth": (DEEP, "run.json is nested deeper than 64 levels"),
    "no end of depth": ("[" * 100_000, "run.json is nested deeper than 64 levels"),
    "infinity": ('{"budget_share": 1e999}', "run.json: at .budget_share: a number that is not finite"),
    "nan": ('{"budget_share": NaN}', "run.json: at .budget_share: a number that is not finite"),
    "digits": ('{"x": %s}' % ("9" * 4000), "run.json: at .x: a number that is not finite, or has too many digits"),
    "type of recipe": ('{"recipe": ["a"]}', "run.json: at .recipe: Input should be a valid string"),
    "type of level": ('{"level": 3}', "run.json: at .level: Input should be a valid string"),
    "type of share": ('{"budget_share": {}}', "run.json: at .budget_share: Input should be a valid number"),
    "twice": ('{"recipe": "a", "recipe": "b"}', "run.json: the key 'recipe' stands twice in one object"),
    "no object": ("[]", "run.json is not a JSON object"),
    "no JSON": ('{"recipe"', "run.json is not JSON: line 1, column 10"),
}


@pytest.fixture(params=["sqlite", "redis"])
async def channel(request, folder) -> AsyncIterator[grpc.aio.Channel]:
    """To a coordinator on each store."""
    redis = RedisProcess(folder) if request.param == "redis" else None
    if redis is not None:
        redis.start()
    try:
        with coordinator(folder, store=redis.url if redis else None) as service:
            async with grpc.aio.insecure_channel(service.address, options=OPTIONS) as opened:
                yield opened
    finally:
        if redis is not None:
            redis.stop()


def requests_of(sample: Sample, run: pb.ImportReply) -> list[agents_pb2.IngestRequest]:
    """The segments and the seal of an imported run, with its secret."""
    segments = [agents_pb2.IngestRequest(segment=segment, secret=run.secret) for segment in sample.segments]
    return [*segments, agents_pb2.IngestRequest(seal=sample.seal, secret=run.secret)]


async def everything_listed(channel: grpc.aio.Channel) -> tuple[pb.RunList, admin_pb2.LogPage]:
    """Asks for every list there is. Raises where one of them fails."""
    audits = AuditsStub(channel)
    runs = await audits.ListRuns(pb.ListRequest())
    await audits.ListAudits(pb.ListRequest())
    await audits.ListMachines(pb.ListRequest())
    for info in runs.runs:
        await audits.Show(pb.ShowRequest(id=info.status.run_id))
    admin = admin_pb2_grpc.AdminStub(channel)
    await admin.ListTokens(admin_pb2.TokenQuery())
    return runs, await admin.ReadLog(admin_pb2.LogRequest())


async def test_a_run_json_that_nobody_could_read_again_is_refused(channel):
    audits = AuditsStub(channel)
    for name, (run_json, words) in REFUSED.items():
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await audits.ImportRun(pb.ImportRequest(label=LABEL, run_json=run_json))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name
        assert refused.value.details().startswith(words), name
    good = await audits.ImportRun(pb.ImportRequest(label=LABEL, run_json='{"recipe": "digits", "level": null}'))
    runs, _ = await everything_listed(channel)
    assert [info.status.run_id for info in runs.runs] == [good.run_id]


async def test_facts_that_are_not_utf8_are_kept_as_escapes(channel):
    audits = AuditsStub(channel)
    imported = await audits.ImportRun(pb.ImportRequest(label=LABEL, run_json="{}"))
    sample = make(imported.run_id, 1)
    detail = '{"notes": [{"kind": "listing", "text": "\\udcff"}], "facts": {"\\udc80": [NaN, 1e999, "\\u0000"]}}'
    sample.seal.detail_json = detail
    stub = agents_pb2_grpc.AgentsStub(channel)
    replies = [reply async for reply in stub.Ingest(iter(requests_of(sample, imported)))]
    assert not any(reply.refused or reply.fenced for reply in replies)
    manifest = '{"locale": {"name\\udc80": "\\udcff"}, "machine": {"cores": 1e999}}'
    await audits.FinishImport(
        pb.ImportFinished(
            run_id=imported.run_id,
            manifest_json=manifest,
            end="exit",
            ranks=1,
            output_tail="last",
            secret=imported.secret,
        )
    )
    shown = json.loads((await audits.Show(pb.ShowRequest(id=imported.run_id))).json)
    assert shown["state"] == "sealed"
    assert shown["manifest"]["locale"] == {"name\\udc80": "\\udcff"}
    assert shown["manifest"]["machine"] == {"cores": None}
    assert shown["seals"]["0"]["detail"] == {
        "notes": [{"kind": "listing", "text": "\\udcff"}],
        "facts": {"\\udc80": [None, None, "\\x00"]},
    }
    second = await audits.ImportRun(pb.ImportRequest(label="other/default/base/twin-0", run_json="{}"))
    other = make(second.run_id, 1, differs_from_step=1, salt="x")
    other.seal.detail_json = detail
    replies = [reply async for reply in stub.Ingest(iter(requests_of(other, second)))]
    assert not any(reply.refused or reply.fenced for reply in replies)
    await audits.FinishImport(
        pb.ImportFinished(run_id=second.run_id, manifest_json=manifest, end="exit", ranks=1, secret=second.secret)
    )
    compared = await audits.Compare(pb.CompareRequest(run_ids=[imported.run_id, second.run_id]))
    assert json.loads(compared.verdict_json)["outcome"] == "different"
    await everything_listed(channel)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (DEEP, "the manifest is nested deeper than 64 levels"),
        ('{"gpu": {"name": "x"}}', "the manifest: at .gpu: Input should be a valid list"),
        ('{"machine": []}', "the manifest: at .machine: Input should be a valid dictionary"),
    ],
)
async def test_a_manifest_of_another_form_is_refused(audits, manifest, words):
    imported = await audits.ImportRun(pb.ImportRequest(label=LABEL, run_json="{}"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await audits.FinishImport(
            pb.ImportFinished(run_id=imported.run_id, manifest_json=manifest, end="exit", secret=imported.secret)
        )
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details().startswith(words)


@pytest.mark.parametrize("detail", ['{"notes": {}}', '{"budget": []}', '{"observers": {"modules": 3}}', DEEP])
async def test_a_seal_of_another_form_is_refused(service, audits, detail):
    imported = await audits.ImportRun(pb.ImportRequest(label=LABEL, run_json="{}"))
    seal = make(imported.run_id, 1).seal
    seal.detail_json = detail
    async with grpc.aio.insecure_channel(service.address, options=OPTIONS) as channel:
        stub = agents_pb2_grpc.AgentsStub(channel)
        sent = [agents_pb2.IngestRequest(seal=seal, secret=imported.secret)]
        (reply,) = [reply async for reply in stub.Ingest(iter(sent))]
    assert reply.refused.startswith("the detail of the seal of rank 0")
