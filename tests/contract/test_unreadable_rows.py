"""A row that nobody can read hides no other: every list goes on past it and says that it is there."""

from __future__ import annotations

import sqlite3

import pytest
import redis
from detctl_coordinator.auth.token_book import TokenBook
from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.identity import Role, new_token
from detctl_coordinator.domain.machine import Machine
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.documents import machine_to_json, token_to_json
from detctl_coordinator.storage.reading.copying import copy_store
from detctl_coordinator.storage.redis import keys
from detctl_coordinator.storage.store import DocumentError, RejectedDataError
from detctl_proto.v1 import admin_pb2, audits_pb2
from givens import a_run, an_audit
from places import Place

BAD = [
    "{",
    "\x00",
    "[1]",
    '{"schema": "detctl.audit/v9"}',
    '{"schema": "detctl.audit/v1", "audit_id": "bad", "state": "running", "request": {"recipe": 3, "machines": [[]]}}',
    '{"schema": "detctl.audit/v1", "audit_id": "bad", "state": "running", "request": {"recipe": "r", "machines": []}, '
    '"runs": [{"spec": {"run_id": "bad-1", "audit_id": "bad", "recipe": "r", "machine": "m", "twin": 1e999}}]}',
    "[" * 500 + "]" * 500,
    "[" * 100_000,
]


def spoil(place: Place, kind: str, name: str, text: str) -> None:
    """Puts `text` in place of a stored document, as no detctl would; of the log: the document of entry number `name`."""
    if place.server is None:
        place.close()
        column = {"audits": "audit_id", "machines": "name", "tokens": "token_id", "log": "number"}[kind]
        with sqlite3.connect(place.folder / "store.db") as connection:
            for trigger in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {trigger[0]}")  # they keep the log as it is
            changed = connection.execute(f"UPDATE {kind} SET document = ? WHERE {column} = ?", (text, name))
            assert changed.rowcount == 1
        connection.close()
        return
    with redis.Redis.from_url(place.server.address) as link:
        if kind == "audits":
            link.hset(keys.audit_key(name), "document", text)
        elif kind == "log":
            link.lset(keys.LOG, int(name) - 1, text)
        else:
            link.hset({"machines": keys.MACHINES, "tokens": keys.TOKENS}[kind], name, text)


def filled(place: Place) -> None:
    """Two audits that go on, of one run each, two machines, two tokens and two entries of the log."""
    store = place.open()
    for name, created in (("bad", 1.0), ("good", 2.0)):
        run = a_run(f"{name}-1", name, created_unix_s=created)
        store.put_audit(an_audit(run, audit_id=name, created=created))
        store.put_machine(name, machine_to_json(Machine(name)))
        token, _ = new_token(Role.VIEWER, name, "local", 0.0, 1.0)
        store.put_token(name, {**token_to_json(token), "token_id": name})
        store.append_log(
            name, {"at": 1.0, "who": "", "event": "e", "text": name, "audit": "", "machine": "", "detail": {}}
        )


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_every_list_goes_on(place: Place, text: str) -> None:
    filled(place)
    spoil(place, "audits", "bad", text)
    spoil(place, "machines", "bad", "{")
    spoil(place, "tokens", "bad", "{")
    spoil(place, "log", "1", "{")
    store = place.open()
    for audits in (store.audits(), store.active_audits()):
        assert [audit.audit_id for audit in audits] == ["good"]
        (bad,) = audits.unreadable
        assert bad.text.startswith("audit bad cannot be read: ") and len(bad.text) < 400
    runs = store.runs()
    assert [run.spec.run_id for run in runs] == ["good-1"]
    assert [row.name for row in runs.unreadable] == ["bad-1"]
    assert runs.unreadable[0].text.startswith("run bad-1 cannot be read: audit bad cannot be read: ")
    assert list(store.machines()) == list(store.tokens()) == ["good"]
    assert [row.name for row in (*store.machines().unreadable, *store.tokens().unreadable)] == ["bad", "bad"]
    newest, oldest = store.log()
    assert newest[1]["text"] == "good"
    assert oldest == (1, {**oldest[1], "event": "unreadable"})
    assert oldest[1]["text"].startswith("log entry 1 cannot be read: ")
    for read, name in ((store.audit, "bad"), (store.run, "bad-1")):
        with pytest.raises(DocumentError):
            read(name)
    good = store.audit("good")
    assert good is not None
    assert store.delete_older_than(10.0) == []  # both are under way
    assert store.put_audit(good).version == good.version + 1


async def test_the_engine_and_the_tokens_go_on(place: Place) -> None:
    filled(place)
    spoil(place, "audits", "bad", "{")
    spoil(place, "machines", "bad", '{"name": []}')
    spoil(place, "tokens", "bad", '{"role": "emperor"}')
    store = AsyncStore(place.open())
    engine = Engine(store, lease_s=60.0, machine_timeout_s=0.0)
    await engine.step()  # machine_timeout_s: the machine of the good audit is missed at once, which advances it
    good = await store.audit("good")
    assert good is not None and good.runs["good-1"].state.over
    assert set(await engine.machines()) == {"good"}
    book = TokenBook(store)
    assert await book.get("bad") is None
    found = await book.get("good")
    assert found is not None and found.name == "good"


async def test_an_audit_that_cannot_be_written_stops_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(place)
    store = AsyncStore(place.open())
    put = store.put_audit

    async def put_or_refuse(audit: Audit) -> Audit:
        if audit.audit_id == "bad":
            raise RejectedDataError("a document for the store is nested too deep to be written")
        return await put(audit)

    monkeypatch.setattr(store, "put_audit", put_or_refuse)
    await Engine(store, lease_s=60.0, machine_timeout_s=0.0).step()
    good = await store.audit("good")
    assert good is not None and good.runs["good-1"].state.over


def test_what_an_older_detctl_let_in_can_be_put_into_messages(place: Place) -> None:
    filled(place)
    spoil(
        place,
        "audits",
        "bad",
        '{"schema": "detctl.audit/v1", "audit_id": "bad", "state": "done", "request": {"recipe": "\\ud800", "machines": []}, '
        '"runs": [{"spec": {"run_id": "bad-1", "audit_id": "bad", "recipe": "\\ud800", "machine": "m", "twin": 0}, '
        '"state": "sealed", "manifest": {"\\udc80": [NaN, Infinity, 1e999, "\\u0000"]}}]}',
    )
    spoil(
        place,
        "log",
        "1",
        '{"at": 1, "who": "", "event": "e", "text": "\\ud800", "audit": "", "machine": "", "detail": {"\\ud800": NaN}}',
    )
    store = place.open()
    audit = store.audit("bad")
    assert audit is not None
    assert audits_pb2.AuditInfo(recipe=audit.request.recipe).recipe == "\\ud800"
    assert audit.runs["bad-1"].manifest == {"\\udc80": [None, None, None, "\\x00"]}
    assert admin_pb2.LogEntry(text=store.log()[1][1]["text"]).text == "\\ud800"


def test_a_copy_tells_what_it_lacks(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    from detctl_coordinator.storage.sqlite.store import SqliteStore

    filled(place)
    spoil(place, "audits", "bad", "{")
    target = SqliteStore(tmp_path_factory.mktemp("copy") / "store.db")
    try:
        copied = copy_store(place.open(), target)
        assert copied.audits == 1
        assert [text.partition(":")[0] for text in copied.problems] == ["audit bad cannot be read"]
    finally:
        target.close()
