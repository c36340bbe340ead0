"""Intervention `threads=N`: torch computes one operation with N threads, whatever the program requests (torch.set_num_threads)."""

from __future__ import annotations

from typing import Any, Dict

from detctl_probe.intervene.numerics.torch_switches import Switches, hold
from detctl_probe.intervene.requested import option_value
from detctl_probe.recording.recorder import Recorder

NAME = "threads"
THREADS_MAX = 1024


def install(recorder: Recorder) -> None:
    """Raises ValueError for a value that is not a count."""
    value = option_value(recorder, NAME, _is_count, "a number from 1 to %d" % THREADS_MAX)
    count = int(value)

    def write(torch: Any) -> None:
        # Only if it differs: setting the same number restarts torch's thread pool.
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)

    def read(torch: Any) -> Dict[str, Any]:
        return {"threads": torch.get_num_threads()}

    hold(recorder, NAME, value, Switches(write, read, {"threads": count}))


def _is_count(value: str) -> bool:
    return value.isdigit() and 1 <= int(value) <= THREADS_MAX
