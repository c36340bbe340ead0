"""Measures the bytes per stored fingerprint: in the message, in the SQLite file, in Redis' memory and in its append-only file.

The goal is less than 40.
"""

from __future__ import annotations

from pathlib import Path

import redis
from _fingerprint_samples import RECORDS, open_run, segments
from _store_places import kinds, place

SEGMENTS = 60


def main() -> None:
    samples = list(segments(SEGMENTS))
    records = SEGMENTS * RECORDS
    steps = sum(len(closed) for _, _, closed in samples)
    print(f"{records:,} fingerprints in {SEGMENTS} segments, {steps:,} entries of the index")
    print(f"{'columns, zlib':28} {sum(len(data) for _, data, _ in samples) / records:6.2f}")
    for kind in kinds():
        with place(kind) as (store, folder):
            memory = used_memory(folder) if kind != "sqlite" else 0
            file = on_disk(folder)
            open_run(store, "run")
            for sample in samples:
                store.put_segment("run", 1, *sample)
            if kind == "sqlite":
                store.close()  # the log goes into the file
            else:
                print(f"{kind + ', memory':28} {(used_memory(folder) - memory) / records:6.2f}")
            print(f"{kind + ', files':28} {(on_disk(folder) - file) / records:6.2f}")


def used_memory(folder: Path) -> int:
    """Returns the memory of the server's data, without the buffers of its clients."""
    with redis.Redis(unix_socket_path=f"{folder}/socket") as client:
        return int(client.info("memory")["used_memory_dataset"])


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
