"""The store in Redis or Valkey, which any number of coordinators share. keys.py names the keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import Seal, SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.storage import documents
from detctl_coordinator.storage.limits import check_segment
from detctl_coordinator.storage.redis import audits, runs, scripts
from detctl_coordinator.storage.redis import keys as redis_keys
from detctl_coordinator.storage.redis.admission import admit
from detctl_coordinator.storage.redis.link import RedisLink
from detctl_coordinator.storage.refusals import missing_entry
from detctl_coordinator.storage.store import NamedRows, Rows, StoreError


class RedisStore:
    """A Store at redis://, rediss:// or unix://. Raises StoreError if the server cannot be reached or is unfit (admission.py)."""

    def __init__(self, address: str, allow_volatile: bool = False, timeout_s: float = 5.0, password: str = "") -> None:
        self._link = RedisLink(address, timeout_s, password)
        self._allow_volatile = allow_volatile
        try:
            self._warnings = admit(self._link, allow_volatile)
            self._check_schema()
            audits.sweep(self._link)
        except BaseException:
            self._link.close()
            raise

    # -- audits and runs ------------------------------------------------------------------------------------------
    def put_audit(self, audit: Audit) -> Audit:
        return audits.put(self._link, audit)

    def audit(self, audit_id: str) -> Audit | None:
        return audits.get(self._link, audit_id)

    def active_audits(self) -> Rows[Audit]:
        return audits.active(self._link)

    def audits(self, limit: int = 100) -> Rows[Audit]:
        return audits.newest(self._link, limit)

    def run(self, run_id: str) -> RunRecord | None:
        return audits.run(self._link, run_id)

    def runs(self, *, audit_id: str = "", machine: str = "", recipe: str = "", limit: int = 100) -> Rows[RunRecord]:
        return audits.matching_runs(self._link, audit_id, machine, recipe, limit)

    def delete_runs(self, run_ids: Sequence[str]) -> list[str]:
        return audits.delete_runs(self._link, run_ids)

    def delete_older_than(self, unix_s: float, keep_audits: bool = False) -> list[str]:
        return audits.delete_older_than(self._link, unix_s, keep_audits)

    # -- machines -------------------------------------------------------------------------------------------------
    def put_machine(self, name: str, document: Mapping[str, Any]) -> None:
        self._link.call("HSET", redis_keys.MACHINES, name, documents.dump(document))
        self._link.confirm()

    def machines(self) -> NamedRows[Mapping[str, Any]]:
        found = dict(self._link.call("HGETALL", redis_keys.MACHINES))
        return documents.readable("machine", redis_keys.texts_by_name(found), documents.load)

    # -- tokens and the log ---------------------------------------------------------------------------------------
    def put_token(self, token_id: str, document: Mapping[str, Any]) -> None:
        self._link.call("HSET", redis_keys.TOKENS, token_id, documents.dump(document))
        self._link.confirm()

    def tokens(self) -> NamedRows[Mapping[str, Any]]:
        found = dict(self._link.call("HGETALL", redis_keys.TOKENS))
        return documents.readable("token", redis_keys.texts_by_name(found), documents.load)

    def append_log(self, key: str, entry: Mapping[str, Any]) -> None:
        keys = (redis_keys.LOG, redis_keys.LOG_KEYS)
        self._link.script(scripts.APPEND_LOG, keys, (key, documents.dump({"key": key, **entry})))
        self._link.confirm()

    def log(self, before: int = 0, limit: int = 100) -> list[tuple[int, Mapping[str, Any]]]:
        last = before - 1 if before else int(self._link.call("LLEN", redis_keys.LOG))
        first = max(last - limit, 0) + 1
        if last < first:
            return []
        texts = self._link.call("LRANGE", redis_keys.LOG, first - 1, last - 1)
        numbered = reversed(list(enumerate(texts, first)))
        return [(number, documents.load_log_entry(number, text)) for number, text in numbered]

    # -- data of runs ---------------------------------------------------------------------------------------------
    def open_attempt(self, run_id: str, attempt: int) -> None:
        runs.open_attempt(self._link, run_id, attempt)

    def put_segment(
        self,
        run_id: str,
        attempt: int,
        meta: SegmentMeta,
        columns: bytes,
        closed: Sequence[tuple[StreamKey, StepEntry]],
    ) -> None:
        check_segment(meta, columns, closed)
        runs.put_segment(self._link, run_id, attempt, meta, columns, closed)

    def put_seal(self, run_id: str, attempt: int, seal: Seal) -> None:
        runs.put_seal(self._link, run_id, attempt, seal.rank, documents.dump(documents.seal_to_json(seal)))

    # -- reading a run --------------------------------------------------------------------------------------------
    def attempt(self, run_id: str) -> int:
        return runs.attempt_of(self._link, run_id)

    def seals(self, run_id: str) -> dict[int, Seal]:
        found = runs.seals(self._link, run_id)
        return {rank: documents.seal_from_json(documents.load(text)) for rank, text in found.items()}

    def streams(self, run_id: str) -> dict[StreamKey, int]:
        return runs.streams(self._link, run_id)

    def entry(self, run_id: str, key: StreamKey, ordinal: int) -> StepEntry:
        found = self.entries(run_id, key, ordinal, ordinal + 1)
        if not found:
            raise missing_entry(run_id, key, ordinal)
        return found[0]

    def entries(self, run_id: str, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        return runs.entries(self._link, run_id, key, max(start, 0), stop)

    def segment_metas(self, run_id: str, rank: int) -> list[SegmentMeta]:
        return runs.metas(self._link, run_id, rank)

    def segment_columns(self, run_id: str, rank: int, numbers: Iterable[int]) -> dict[int, bytes]:
        return runs.columns(self._link, run_id, rank, numbers)

    # -- service --------------------------------------------------------------------------------------------------
    def check(self) -> list[str]:
        self._link.confirm()
        return admit(self._link, self._allow_volatile)

    def close(self) -> None:
        self._link.close()

    def _check_schema(self) -> None:
        self._link.call("SET", redis_keys.SCHEMA, redis_keys.SCHEMA_VERSION, "NX")
        found = int(self._link.call("GET", redis_keys.SCHEMA) or 0)
        if found > redis_keys.SCHEMA_VERSION:
            raise StoreError(
                f"store {self._link.shown} was written by a newer detctl (its schema is {found}, this detctl reads up to "
                f"{redis_keys.SCHEMA_VERSION}): upgrade detctl"
            )
        if found < redis_keys.SCHEMA_VERSION:
            audits.close_ended(self._link)
            self._link.call("SET", redis_keys.SCHEMA, redis_keys.SCHEMA_VERSION)
            self._link.confirm()
