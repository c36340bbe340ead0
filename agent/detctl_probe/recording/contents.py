"""What the JSON frames of a process say; frames.py documents the keys."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Tuple

from detctl_probe.recording.costs import Costs
from detctl_probe.recording.record_writer import Writer
from detctl_probe.recording.sampling import Sampling
from detctl_probe.settings import Settings
from detctl_probe.transport import frames


class Row(Protocol):
    """One observer of the seal."""

    name: str
    stage: str
    installed: bool
    fired: int
    failed: Optional[str]


class Recorder(Protocol):
    """What the frames need of the recorder."""

    settings: Settings
    role: str
    pid: int
    step: int
    steps_finished: int
    training: bool
    writer: Writer
    costs: Costs
    sampling: Sampling
    unobserved_parts: Dict[Tuple[str, str], Dict[str, str]]
    interventions: Dict[str, Dict[str, Any]]
    collect_facts: Callable[[], Dict[str, Any]]

    @property
    def observers(self) -> Mapping[str, Row]: ...

    def learn_rank(self) -> Optional[Tuple[int, int]]: ...


def hello(recorder: Recorder) -> Dict[str, Any]:
    """HELLO: who speaks."""
    return {
        "v": frames.VERSION,
        "scheme": frames.SCHEME,
        "level": recorder.settings.level,
        # A process id comes again; with the time it needs no random number to be unique.
        "process": "%d.%08x" % (recorder.pid, time.time_ns() // 1000 & 0xFFFFFFFF),
        "pid": recorder.pid,
        "ppid": os.getppid(),
        "role": recorder.role,
        "rank": _number(os.environ.get("RANK")),
        "world_size": _number(os.environ.get("WORLD_SIZE")),
        "local_world_size": _number(os.environ.get("LOCAL_WORLD_SIZE")),
        "argv": list(getattr(sys, "orig_argv", None) or getattr(sys, "argv", None) or []),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "executable": sys.executable,
    }


def facts(recorder: Recorder) -> Dict[str, Any]:
    """FACTS: what facts.py reads, and the rank."""
    try:
        content = dict(recorder.collect_facts())
    except Exception as error:
        content = {"failed": "%s: %s" % (type(error).__name__, error)}
    rank, world_size = _ranks(recorder)
    content.update(rank=rank, world_size=world_size)
    return content


def seal(recorder: Recorder, reason: str) -> Dict[str, Any]:
    """SEAL: counts, chains, coverage. `exception`: the class of what ended the program, where something did."""
    rank, world_size = _ranks(recorder)
    content: Dict[str, Any] = {
        "reason": reason,
        "rank": rank,
        "world_size": world_size,
        "sequence": recorder.writer.sequence,
        "steps_finished": recorder.steps_finished,
        "last_step": recorder.step - 1 if recorder.steps_finished else 0,
        "streams": {"%s/%s" % key: stream.total() for key, stream in recorder.writer.streams.items()},
        "observers": {
            row.name: {"stage": row.stage, "installed": row.installed, "fired": row.fired, "failed": row.failed}
            for row in recorder.observers.values()
        },
        "unobserved": list(recorder.unobserved_parts.values()),
        "interventions": list(recorder.interventions.values()),
        "facts": facts(recorder),
        **recorder.costs.report(),
        "training": recorder.training,
    }
    if recorder.sampling.share is not None:
        content["budget"] = recorder.sampling.report()
    failure = getattr(sys, "last_type", None)
    if reason == "exit" and failure is not None:
        content["exception"] = getattr(failure, "__name__", str(failure))
    return content


def distributed_rank() -> Optional[Tuple[int, int]]:
    """(rank, world size) as torch.distributed says, or None where it says nothing (yet, or no more)."""
    distributed = sys.modules.get("torch.distributed")
    try:
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank()), int(distributed.get_world_size())
    except Exception:
        return None
    return None


def _ranks(recorder: Recorder) -> Tuple[Optional[int], Optional[int]]:
    return recorder.learn_rank() or (_number(os.environ.get("RANK")), _number(os.environ.get("WORLD_SIZE")))


def _number(text: Optional[str]) -> Optional[int]:
    return int(text) if text is not None and text.isdigit() else None
