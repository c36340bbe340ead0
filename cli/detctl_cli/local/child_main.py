"""`python -m detctl_cli.local.child_main MODULE ARGS…` runs MODULE, and ends it when the parent is gone.

The parent keeps the write end of a pipe, and DETCTL_PARENT_FD is the read end. The pipe closes whenever the parent ends, also by
SIGKILL. This process then gets SIGTERM, as from its parent, and exits after a grace period if it does not end. PR_SET_PDEATHSIG would
fire when the *thread* that started the child ends, and preexec_fn is unsafe in a process with threads.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from types import FrameType

GRACE_S = 20.0  # an agent may need 10 s to end a training that ignores SIGTERM
PARENT_FD = "DETCTL_PARENT_FD"
KEEP_FDS = "DETCTL_KEEP_FDS"


def _follow(parent_pipe: int) -> None:
    while os.read(parent_pipe, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def _end_quietly(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def main() -> None:
    """Runs the module. It does not return if the module ends by sys.exit."""
    parent_pipe = int(os.environ.pop(PARENT_FD))
    for text in (str(parent_pipe), *filter(None, os.environ.pop(KEEP_FDS, "").split(","))):
        os.set_inheritable(int(text), False)  # trainings must not inherit it
    threading.Thread(target=_follow, args=(parent_pipe,), name="follow-parent", daemon=True).start()
    module = sys.argv[1]
    sys.argv = [module, *sys.argv[2:]]
    signal.signal(
        signal.SIGINT, _end_quietly
    )  # until the module sets its own handler: no traceback from the middle of an import
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # children.py has blocked it so far
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
