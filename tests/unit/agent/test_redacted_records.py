"""What a probe says of its command goes into the spool without credentials, and the rank is still complete."""

from __future__ import annotations

import json
from hashlib import blake2b

from detctl_agent.recording.ranks import Ranks
from detctl_agent.recording.records import RecordParser
from detctl_agent.recording.redacted_records import redacted_record
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.transport import chain, frames
from detctl_probe.transport.frames import FACTS, HELLO, NOTE, RECORDS, SEAL, STEP
from detctl_proto.security.redaction import REDACTED

COMMAND = ["python", "train.py", "--password", "hunter2", "--lr", "0.1"]
MASKED = ["python", "train.py", "--password", REDACTED, "--lr", "0.1"]


def print_of(words: list[str]) -> Fingerprint:
    return Fingerprint(blake2b("\0".join(words).encode(), digest_size=16).digest(), "py:command", (len(words),))


def test_a_command_with_a_password_makes_a_complete_rank_without_it() -> None:
    ranks = Ranks("r1", 1, "module", lambda: 0.0)
    process = ranks.connect()
    ranks.frame(process, HELLO, frames.dump_json({"v": 1, "scheme": "n6.v1", "pid": 1, "argv": COMMAND}))
    ranks.frame(process, NOTE, frames.dump_json({"kind": "x", "text": "opened db://u:hunter2@h/d", "step": 0}))
    streams = {}
    rows = [
        (0, "command", print_of(COMMAND), {"command": COMMAND}),
        (0, "train.py", print_of(["x"]), None),
        (10, "w", print_of(["g"]), None),
    ]
    for sequence, (stage, site, value, evidence) in enumerate(rows):
        packed = frames.pack_record(sequence, stage, 0, 0, 0, 0, site, value, evidence)
        ranks.frame(process, RECORDS, packed)
        fold = streams.setdefault(stage, chain.StepFold())
        fold.take(chain.record_hash(site, 0, value.dtype, value.shape, value.digest, value.order_blind))
    ranks.frame(process, FACTS, frames.dump_json({"rank": 0}))
    ranks.frame(process, STEP, b"\0\0\0\0\0")
    totals = {
        name: {
            "steps": 1,
            "count": streams[stage].count,
            "chain": chain.chain(chain.ZERO, 0, streams[stage].digest).hex(),
        }
        for stage, name in ((0, "code/train"), (10, "backward/train"))
    }
    sealed = {"reason": "exit", "steps_finished": 1, "last_step": 0, "sequence": 3, "streams": totals}
    messages = ranks.frame(process, SEAL, frames.dump_json(sealed))
    assert messages[-1].seal.complete, messages[-1].seal.detail_json
    detail = json.loads(messages[-1].seal.detail_json)
    assert detail["process"]["argv"] == MASKED
    assert detail["notes"][0]["text"] == f"opened db://{REDACTED}@h/d"
    stored = {total.stage: total.chain.hex() for total in messages[-1].seal.streams}
    assert stored[10] == totals["backward/train"]["chain"]
    assert stored[0] != totals["code/train"]["chain"], "a digest over the password could be tried out"
    segment = messages[0].segment
    assert segment.record_count == 3
    assert b"hunter2" not in b"".join(message.SerializeToString() for message in messages)


def record_of(site: str, value: Fingerprint, evidence: object, stage: int = 0):
    packed = frames.pack_record(0, stage, 0, 0, 0, 0, site, value, evidence)
    return RecordParser().parse(packed)[0]


def test_commands_that_differ_in_a_password_alone_have_one_digest() -> None:
    one = redacted_record(record_of("command", print_of(COMMAND), {"command": COMMAND}))
    words = [word.replace("hunter2", "hunter3") for word in COMMAND]
    other = redacted_record(record_of("command", print_of(words), {"command": words}))
    assert one == other
    assert one.digest == print_of(MASKED).digest
    plain = record_of("command", print_of(["python", "t.py"]), {"command": ["python", "t.py"]})
    assert redacted_record(plain) is plain


def test_urls_in_evidence() -> None:
    found = redacted_record(record_of("main", print_of(["f"]), {"file": "https://u:hunter2@h/a.bin"}, stage=2))
    assert json.loads(found.evidence or b"") == {"file": f"https://{REDACTED}@h/a.bin"}
    assert found.digest == print_of(["f"]).digest
