"""Where a store lies: what a test can open, kill and start again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from detctl_coordinator.storage.redis.store import RedisStore
from detctl_coordinator.storage.sqlite.store import SqliteStore
from detctl_coordinator.storage.store import Store
from servers import Server, server_binary


class Place:
    """Where a store lies. `server` is None for SQLite."""

    def __init__(self, kind: str, folder: Path, server: Server | None) -> None:
        self.kind, self.folder, self.server = kind, folder, server
        self._opened: list[Store] = []

    def open(self, timeout_s: float = 5.0) -> Store:
        """A store on it, closed at the end of the test. SQLite has one at a time: the one before is closed."""
        if self.server is not None:
            store: Store = RedisStore(self.server.address, timeout_s=timeout_s)
        else:
            self.close()
            store = SqliteStore(self.folder / "store.db", timeout_s=timeout_s)
        self._opened.append(store)
        return store

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def remove(self) -> None:
        self.close()
        if self.server is not None:
            self.server.remove()


def make_place(kind: str, folder: Path, appendfsync: str) -> Iterator[Place]:
    server = None
    if kind != "sqlite":
        server = Server(server_binary(kind), folder, "--appendonly", "yes", "--appendfsync", appendfsync)
        server.start()
    made = Place(kind, folder, server)
    try:
        yield made
    finally:
        made.remove()
