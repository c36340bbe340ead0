"""Notes the queries of the user's own code in sqlite3 (notes `query`): whether the database draws, and in which order rows are inserted.

sqlite3 reports each statement to the connection's trace callback. The program's own callback replaces it, so nothing changes for the
program. Rows stay inside C; only statements are seen. Notes hold no text of a statement.
"""

from __future__ import annotations

import re
import threading
from hashlib import blake2b
from typing import Any, Dict, List, Optional, Set, Tuple

from detctl_probe.observe.outside.user_reads import user_line
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import Builtin
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder

STATEMENTS_MAX = 200_000
QUERIES_MAX = 200
_DRAWS = re.compile(r"\brandom(?:blob)?\s*\(", re.IGNORECASE)
_CLOCK = re.compile(r"'now'|\bcurrent_(?:time|date|timestamp)\b", re.IGNORECASE)
_ORDERED = re.compile(r"\border\s+by\b|\bcount\s*\(|\b(?:max|min|sum|avg)\s*\(|\blimit\s+1\b", re.IGNORECASE)
_SELECT = re.compile(r"^\s*(?:select|with)\b.*?\bfrom\s+[\"'\[`]?(\w+)", re.IGNORECASE | re.DOTALL)
_INSERT = re.compile(r"^\s*(?:insert|replace)\b.*?\binto\s+[\"'\[`]?(\w+)", re.IGNORECASE | re.DOTALL)
_LANES = 1 << 64


class _Inserts:
    """The rows that were inserted into one table, in order: digests with and without their order, and the threads that did it."""

    def __init__(self) -> None:
        self.rows = 0
        self.ordered = blake2b(digest_size=8)
        self.unordered = 0
        self.threads: Set[int] = set()

    def add(self, statement: bytes) -> None:
        self.rows += 1
        digest = blake2b(statement, digest_size=8).digest()
        self.ordered.update(digest)
        self.unordered = (self.unordered + int.from_bytes(digest, "little")) % _LANES
        self.threads.add(threading.get_ident())

    def fields(self) -> Dict[str, Any]:
        return {
            "rows": self.rows,
            "inserted": self.ordered.hexdigest(),
            "inserted_unordered": "%016x" % self.unordered,
            "threads": len(self.threads),
        }


def install(recorder: Recorder) -> None:
    """Patches sqlite3.connect after its import."""
    _Databases(recorder)


class _Databases:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.row = recorder.observer("databases", "files")
        self._lock = threading.Lock()
        self._tables: Dict[str, _Inserts] = {}
        self._statements = 0
        self._queries: List[Tuple[Any, ...]] = []
        when_imported("sqlite3", self._patch)

    def _patch(self, module: Any) -> None:
        original = module.connect

        def connect(*args: Any, **kwargs: Any) -> Any:
            connection = original(*args, **kwargs)
            try:
                connection.set_trace_callback(self._traced)
            except Exception as error:
                if from_signal(error):
                    raise
            return connection

        module.connect = Builtin(original, connect, "sqlite3", "connect")
        if getattr(module, "dbapi2", None) is not None:
            module.dbapi2.connect = module.connect

    def _traced(self, statement: Optional[str]) -> None:
        """Runs inside sqlite3, which discards exceptions."""
        recorder = self.recorder
        if recorder.busy or recorder.sealed or not statement or self._statements >= STATEMENTS_MAX:
            return
        with self._lock:
            self._statements += 1
            head = statement[:4096]
            if _DRAWS.search(head):
                self._note(statement, head, draws=True)
            if (found := _INSERT.match(head)) is not None:
                table = self._tables.setdefault(found.group(1).lower(), _Inserts())
                table.add(statement.encode("utf-8", "surrogateescape"))
            elif _SELECT.match(head) is not None and not _DRAWS.search(head):
                self._note(statement, head, draws=False)

    def _note(self, statement: str, head: str, *, draws: bool) -> None:
        recorder = self.recorder
        with recorder.working("files"):
            where = user_line(recorder)
            if not where.get("file"):
                return
            found = _SELECT.match(head)
            table = found.group(1).lower() if found is not None else ""
            key = (where["file"], where["line"], table, draws)
            if key in self._queries or len(self._queries) >= QUERIES_MAX:
                return
            self._queries.append(key)
            self.row.fired += 1
            fields: Dict[str, Any] = {"table": table, "draws": draws, "clock": bool(_CLOCK.search(head))}
            fields["ordered"] = bool(_ORDERED.search(statement))
            if table in self._tables:
                fields.update(self._tables[table].fields())
            text = "a query draws with random()" if draws else "a query reads rows"
            recorder.note("query", text, stage="files", **fields, **where)
