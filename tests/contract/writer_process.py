"""A process that writes segments into an SQLite store from four threads until it is killed; says which were acknowledged."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from detctl_coordinator.storage.sqlite.store import SqliteStore
from givens import a_segment, opened

RANKS = 4


def main(path: str) -> None:
    store = SqliteStore(path)
    opened(store)

    def write(rank: int) -> None:
        for number in range(100_000):
            store.put_segment("run-1", 1, *a_segment(number, rank, size=9000))
            sys.stdout.write(f"{rank} {number}\n")  # one write a line: threads do not mix
            sys.stdout.flush()

    for rank in range(RANKS):
        threading.Thread(target=write, args=(rank,)).start()


if __name__ == "__main__":
    main(sys.argv[1])
