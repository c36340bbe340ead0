"""What a training process says in JSON costs that process alone, and what the agent sends can be taken."""

from __future__ import annotations

import json

import pytest
from detctl_agent.catalog.catalog import Catalog
from detctl_agent.client import messages
from detctl_agent.launcher.process import lines_of, reports_of
from detctl_agent.recording.ranks import Ranks
from detctl_agent.state.run_folder import RunJson
from detctl_coordinator.wire.control import manifest_of
from detctl_coordinator.wire.records import seal_from_proto
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.transport import frames
from detctl_probe.transport.frames import FACTS, HELLO, NOTE, RECORDS, SEAL, ProtocolError
from detctl_proto.v1 import agents_pb2

DEEP = b'{"a":' * 980 + b"1" + b"}" * 980


def training() -> tuple[Ranks, object]:
    """A process that has done a forward."""
    ranks = Ranks("run", 1, "module", lambda: 0.0)
    process = ranks.connect()
    ranks.frame(process, HELLO, b'{"v": 1}')
    ranks.frame(process, FACTS, b'{"rank": 0, "world_size": 1}')
    record = frames.pack_record(0, 8, 0, 0, 0, 0, "x", Fingerprint(bytes(16), "float32"))
    ranks.frame(process, RECORDS, record)
    return ranks, process


@pytest.mark.parametrize(
    ("kind", "payload", "words"),
    [
        (NOTE, DEEP, "nested deeper"),
        (SEAL, DEEP, "nested deeper"),
        (FACTS, b"[" * 100_000, "nested deeper"),
        (NOTE, b"[]", "is not a JSON object"),
        (NOTE, b'{"kind": ["listing"]}', "a NOTE of another form: at .kind"),
        (FACTS, b'{"packages": []}', "a FACTS of another form: at .packages"),
        (SEAL, b'{"observers": {"modules": 3}}', "a SEAL of another form: at .observers.modules"),
        (SEAL, b'{"unobserved": {}}', "a SEAL of another form: at .unobserved"),
        (SEAL, b'{"budget": [1]}', "a SEAL of another form: at .budget"),
        (SEAL, b'{"facts": 3}', "a SEAL of another form: at .facts"),
    ],
)
def test_a_frame_of_another_form_ends_its_process(kind, payload, words):
    ranks, process = training()
    with pytest.raises(ProtocolError, match=words):
        ranks.frame(process, kind, payload)
    (*_, last) = ranks.disconnect(process, "the process sent it")
    seal = seal_from_proto(last.seal)  # the coordinator takes what the agent makes of it
    assert not seal.complete and seal.detail["mismatch"] == "the process sent it"


def test_names_that_are_not_utf8_reach_the_seal_as_escapes():
    ranks, process = training()
    ranks.frame(process, NOTE, frames.dump_json({"kind": "listing", "text": "caf\udce9", "\udc80": float("nan")}))
    (*_, last) = ranks.frame(process, SEAL, b'{"reason": "exit", "x": 1e999, "y": "\\u0000"}')
    detail = seal_from_proto(last.seal).detail
    assert detail["notes"] == [{"kind": "listing", "text": "caf\\udce9", "\\udc80": None}]
    assert detail["x"] is None and detail["y"] == "\\x00"


def test_messages_take_names_that_are_not_utf8_and_no_manifest_is_too_long():
    run = RunJson("run", message="cannot read /data/caf\udce9")
    manifest = {"machine": {"name": "gpu1\udc80"}, "torch": {"x": "y" * 2_000_000}, "python": {"z": "y" * 900_000}}
    state = messages.run_state(run, agents_pb2.RUN_PHASE_ENDED, manifest).run_state
    assert state.message == "cannot read /data/caf\\udce9"
    facts = manifest_of(state.manifest_json, "it")
    assert facts["machine"] == {"name": "gpu1\\udc80"} and facts["left_out"] == ["torch"]
    hello = messages.hello("gpu1", "1", "boot", 1, Catalog(), {}, {"machine": {"os": "\udcff"}}).hello
    assert manifest_of(hello.manifest_json, "it") == {"machine": {"os": "\\udcff"}}


@pytest.mark.parametrize("data", [DEEP + b"\n", b"[]\n", b'{"exit": "no"}\n', b'{"done": []}\n', b"x" * (5 << 20)])
def test_a_shim_that_reports_something_else_is_none(data):
    with pytest.raises(ValueError):
        reports_of(data)


def test_reports_of_a_shim():
    data = b'{"started": 7}\n{"exit": -9}\n{"done": 0, "left": 2}\n{"fai'
    assert reports_of(data) == ([{"started": 7}, {"exit": -9}, {"done": 0, "left": 2}], b'{"fai')
    assert lines_of(json.dumps({"argv": ["a\udcff"]}).encode() + b"\n")[0] == [{"argv": ["a\\udcff"]}]
