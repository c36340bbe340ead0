"""Intervention `threads=N`: torch computes one operation with N threads, whatever the program asks for (torch.set_num_threads)."""

from __future__ import annotations

from typing import Any, Dict

from detctl_probe.intervene.torch_switches import Switches, hold
from detctl_probe.recorder import Recorder

NAME = "threads"
THREADS_MAX = 1024


def install(recorder: Recorder) -> None:
    """Does nothing where the settings name no count. Raises ValueError for what is none."""
    value = recorder.settings.interventions.get(NAME)
    if value is None:
        return
    if not value.isdigit() or not 1 <= int(value) <= THREADS_MAX:
        recorder.intervention(NAME, value, False, "not a number of threads from 1 to %d" % THREADS_MAX)
        raise ValueError("threads=%s is not a number from 1 to %d" % (value, THREADS_MAX))
    count = int(value)

    def write(torch: Any) -> None:
        # Only where it differs: setting it anew would start torch's thread pool again.
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)

    def read(torch: Any) -> Dict[str, Any]:
        return {"threads": torch.get_num_threads()}

    hold(recorder, NAME, value, Switches(write, read, {"threads": count}))
