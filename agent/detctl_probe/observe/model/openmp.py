"""Large digests on the CPU are shared among the training's own threads.

A training with many threads would wait for a digest that one thread takes alone. The kernel has no threads. It gets the entry of the
OpenMP runtime that torch itself calls for its operators (the symbol as libtorch_cpu resolves it, since a process may hold several
runtimes), and as many threads as torch uses at that step. So no thread is added, and the pool keeps its size.

This starts at the second step, when the training surely has its pool: a process that forks before its first parallel region may use OpenMP
in the child, but one that forks after it may not (libgomp hangs there). For the same reason a forked child digests alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Optional

from detctl_probe.digest.n6 import KERNEL
from detctl_probe.recording.recorder import Recorder


def install(recorder: Recorder) -> None:
    """Reads torch's number of threads at each step's start; does nothing if torch has no OpenMP, or without the kernel."""
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
        # It is loaded already, or the probe must not load it.
        library = ctypes.CDLL(os.path.join(folder, "lib", "libtorch_cpu.so"), mode=os.RTLD_NOLOAD)
        return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None
