"""`python -m detctl_cli.local.child_main MODULE ARGS…`: runs MODULE, and ends it when the parent is gone.

The parent keeps the write end of a pipe, DETCTL_PARENT_FD is the read end. It closes however the parent dies, SIGKILL too; then this
process gets SIGTERM, as it would from its parent, and is ended for good if it does not go. Chosen over PR_SET_PDEATHSIG, which
fires when the *thread* that started the child ends, and over preexec_fn, which is unsafe in a process with threads.
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
    """Never returns normally where MODULE ends by sys.exit."""
    parent_pipe = int(os.environ.pop(PARENT_FD))
    for text in (str(parent_pipe), *filter(None, os.environ.pop(KEEP_FDS, "").split(","))):
        os.set_inheritable(int(text), False)  # ours alone, not a training's
    threading.Thread(target=_follow, args=(parent_pipe,), name="follow-parent", daemon=True).start()
    module = sys.argv[1]
    sys.argv = [module, *sys.argv[2:]]
    signal.signal(signal.SIGINT, _end_quietly)  # until the module has its own: no traceback of half an import
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # children.py has blocked it until here
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
