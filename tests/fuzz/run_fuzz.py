"""Runs every fuzz target for FUZZ_S seconds (default 30) and prints a table; exits 1 where one crashed. `make fuzz`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TARGETS = tuple(sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py")))
MEMORY = Path("/dev/shm")  # a file an input would wear out a disk
START_S_MAX = 300  # of a target that imports torch, on a busy machine
_EXECUTED = re.compile(rb"stat::number_of_executed_units:\s+(\d+)")


@dataclass(frozen=True)
class Fuzzed:
    """How one target fared. report: the end of what it printed where it crashed."""

    name: str
    executed: int
    crashes: int
    report: str = ""


def fuzz(name: str, seconds: int, crashes: Path) -> Fuzzed:
    """One target in a process of its own; the input of a crash lies in `crashes`."""
    command = [sys.executable, str(HERE / f"fuzz_{name}.py"), "--seconds", str(seconds), "--crashes", str(crashes)]
    with tempfile.TemporaryDirectory(prefix="detctl-fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        ran = subprocess.run(
            command,
            env={**os.environ, "FUZZ_SCRATCH": scratch},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=seconds + START_S_MAX,
        )
    found = _EXECUTED.search(ran.stdout)
    crashed = ran.returncode != 0
    report = ran.stdout.decode("utf-8", "replace")[-4000:] if crashed or not found else ""
    return Fuzzed(name, int(found[1]) if found else 0, int(crashed), report)


def table(rows: Sequence[Fuzzed]) -> str:
    """For people: a line a target, and the total."""
    total = Fuzzed("total", sum(row.executed for row in rows), sum(row.crashes for row in rows))
    lines = [f"{'target':<16}{'inputs':>12}{'crashes':>10}"]
    lines += [f"{row.name:<16}{row.executed:>12,}{row.crashes:>10}" for row in (*rows, total)]
    return "\n".join(lines)


def main() -> int:
    """0 where no target crashed and each ran; the inputs of crashes are kept, and named."""
    seconds = int(os.environ.get("FUZZ_S", "30"))
    names = sys.argv[1:] or TARGETS
    crashes = Path(tempfile.mkdtemp(prefix="detctl-crashes-"))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        rows = list(pool.map(lambda name: fuzz(name, seconds, crashes), names))
    print(table(rows))
    for row in rows:
        if row.report:
            print(f"\n== {row.name}\n{row.report}")
    failed = any(row.crashes or not row.executed for row in rows)
    if failed:
        print(f"\ninputs that crashed: {crashes}")
    else:
        crashes.rmdir()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
