"""Hooks into the ends and forks of a process: each end leaves a seal, or visibly none.

A crash keeps its traceback (sys.excepthook is untouched: atexit runs after it). Signals keep their defaults: a killed
process has no seal, and the run is unverified.
"""

from __future__ import annotations

import atexit
import os
from typing import Any

from detctl_probe.process.patching import Builtin
from detctl_probe.recording.recorder import Recorder


def install(recorder: Recorder) -> None:
    """Installs the hooks; called once, at the start of a process."""
    original = os._exit

    def exit_now(*args: Any, **kwargs: Any) -> Any:
        recorder.seal("os._exit")
        return original(*args, **kwargs)

    os._exit = Builtin(original, exit_now, "os", "_exit")
    # Registered before the user's own functions, so it runs last.
    atexit.register(recorder.seal, "exit")
    os.register_at_fork(after_in_child=recorder.after_fork)
