"""What every fuzz target shares: its command line, its seeds, and which code atheris looks into.

A target is a file `fuzz_NAME.py` with a function that takes bytes and lets documented errors pass; anything else that it raises is a
crash. `python tests/fuzz/fuzz_NAME.py --seconds 30` runs it; run_fuzz.py runs all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
SEEDS = Path(__file__).parent / "seeds"
INPUT_BYTES_MAX = 4096
MEMORY_MB_MAX = 3072  # with torch in the process
INPUT_S_MAX = 20
OURS = (
    "detctl_proto",
    "detctl_probe",
    "detctl_selfcheck",
    "detctl_checkpoints",
    "detctl_agent",
    "detctl_coordinator",
    "detctl_cli",
)

for _root in ("proto", "agent", "coordinator", "cli"):
    sys.path.insert(0, str(ROOT / _root))


@contextlib.contextmanager
def instrumented(*modules: str) -> Iterator[None]:
    """Imports within are looked into where they are of these modules of ours. The rest stays as fast as it is."""
    assert all(name.partition(".")[0] in OURS for name in modules)
    with atheris.instrument_imports(include=list(modules)):
        yield


def scratch() -> Path:
    """A folder of this process, for code that takes files. run_fuzz.py removes it: atheris ends a process without any clean-up."""
    return Path(tempfile.mkdtemp(dir=os.environ.get("FUZZ_SCRATCH")))


def one_line(text: str) -> None:
    """What an error tells a user is one line that a terminal and a message can carry."""
    text.encode("utf-8")
    assert "\n" not in text and len(text) < 2000, text


def fuzz(target: Callable[[bytes], None]) -> None:
    """Runs the target for a time; a crash ends the process with its input in --crashes. Never returns."""
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=int, default=30)
    options.add_argument("--crashes", type=Path, default=Path(tempfile.gettempdir()))
    options.add_argument("inputs", nargs="*", type=Path, help="run these inputs alone, once each")
    chosen = options.parse_args()
    # One log line an input would be most of the work.
    logging.disable(logging.CRITICAL)
    name = Path(sys.argv[0]).stem.removeprefix("fuzz_")
    if chosen.inputs:
        for path in chosen.inputs:
            target(path.read_bytes())
        return
    flags = [
        f"-max_total_time={chosen.seconds}",
        f"-artifact_prefix={chosen.crashes}/{name}-",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-rss_limit_mb={MEMORY_MB_MAX}",
        f"-timeout={INPUT_S_MAX}",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    # What it finds goes into the first folder, never among the seeds.
    atheris.Setup([sys.argv[0], *flags, str(scratch()), str(SEEDS / name)], target)
    atheris.Fuzz()
