"""Large digests on the CPU are shared among the training's own threads.

A training with many threads waits for a digest that one of them takes alone. The kernel has no threads; it is given the entry of the OpenMP
runtime that torch itself calls for its operators (the symbol as libtorch_cpu resolves it: there may be several runtimes in a
process), with as many threads as torch uses at that step. So no thread is added, and the pool keeps its size.

Only from the second step on, when the training has had its pool for sure: a process that forks before its first parallel region may
use OpenMP in the child, one that forks after it may not (libgomp hangs there). For the same reason a forked child digests alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Optional

from detctl_probe.digest.n6 import KERNEL
from detctl_probe.recording.recorder import Recorder


def install(recorder: Recorder) -> None:
    """Asks torch at each step's start for the number of its threads; does nothing where it has no OpenMP or there is no kernel."""
    torch = sys.modules["torch"]
    kernel, parallel = KERNEL, entry(torch)
    if kernel is None or parallel is None:
        return
    owner = os.getpid()

    def step_starts() -> None:
        if recorder.step > 0 and os.getpid() == owner:
            kernel.share(parallel, torch.get_num_threads())

    recorder.at_step_start(step_starts)
    os.register_at_fork(after_in_child=kernel.alone)


def entry(torch: object) -> Optional[int]:
    """The address of GOMP_parallel in the runtime that libtorch_cpu uses (libgomp, or LLVM's or Intel's, which have it too)."""
    folder = os.path.dirname(str(getattr(torch, "__file__", "")))
    try:
        # It is there already or it is not ours to load.
        library = ctypes.CDLL(os.path.join(folder, "lib", "libtorch_cpu.so"), mode=os.RTLD_NOLOAD)
        return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None
