"""Contents of the JSON frames of a process; frames.py documents the keys."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Callable, Dict, Optional, Tuple

from detctl_probe.recording.costs import Costs
from detctl_probe.recording.coverage import Coverage
from detctl_probe.recording.rank import variable
from detctl_probe.recording.record_writer import Writer
from detctl_probe.recording.sampling import Sampling
from detctl_probe.transport import frames

Ranks = Tuple[Optional[int], Optional[int]]  # rank and world size, None: not known


def hello(level: str, role: str, pid: int) -> Dict[str, Any]:
    """HELLO: which process this is."""
    return {
        "v": frames.VERSION,
        "scheme": frames.SCHEME,
        "level": level,
        # A process id comes again; with the time it needs no random number to be unique.
        "process": "%d.%08x" % (pid, time.time_ns() // 1000 & 0xFFFFFFFF),
        "pid": pid,
        "ppid": os.getppid(),
        "role": role,
        "rank": variable("RANK"),
        "world_size": variable("WORLD_SIZE"),
        "local_world_size": variable("LOCAL_WORLD_SIZE"),
        "argv": list(getattr(sys, "orig_argv", None) or getattr(sys, "argv", None) or []),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "executable": sys.executable,
    }


def facts(collect: Callable[[], Dict[str, Any]], ranks: Ranks) -> Dict[str, Any]:
    """FACTS: what collect() reads of this process (process/facts.py), and its rank."""
    try:
        content = dict(collect())
    except Exception as error:
        content = {"failed": "%s: %s" % (type(error).__name__, error)}
    content["rank"], content["world_size"] = ranks
    return content


def seal(
    reason: str,
    ranks: Ranks,
    *,
    steps_finished: int,
    step: int,
    training: bool,
    writer: Writer,
    coverage: Coverage,
    facts: Dict[str, Any],
    costs: Costs,
    sampling: Sampling,
) -> Dict[str, Any]:
    """SEAL: counts, chains, coverage and cost. `exception`: the class of the exception that ended the program, if one did."""
    content: Dict[str, Any] = {
        "reason": reason,
        "rank": ranks[0],
        "world_size": ranks[1],
        "sequence": writer.sequence,
        "steps_finished": steps_finished,
        "last_step": step - 1 if steps_finished else 0,
        "streams": {"%s/%s" % key: stream.total() for key, stream in writer.streams.items()},
        **coverage.report(),
        "facts": facts,
        **costs.report(),
        "training": training,
    }
    if sampling.share is not None:
        content["budget"] = sampling.report()
    failure = getattr(sys, "last_type", None)
    if reason == "exit" and failure is not None:
        content["exception"] = getattr(failure, "__name__", str(failure))
    return content
