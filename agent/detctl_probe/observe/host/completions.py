"""Notes where the user's code takes results of several threads or processes in the order of their timing (`unordered`).

It makes no record: the effect shows where the results reach the data. The probe watches concurrent.futures.as_completed, imap_unordered of
multiprocessing's pools, and queue.Queue with more than one thread that puts. It does not watch queue.SimpleQueue (a native type) or queues
of processes.
"""

from __future__ import annotations

import functools
import linecache
import re
import threading
import weakref
from typing import Any, Callable, Dict

from detctl_probe.process.callers import USER
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import rebind
from detctl_probe.recording.recorder import Recorder

LINE_CHARS_MAX = 160


def install(recorder: Recorder) -> None:
    """Called once in a process; waits for the import of both packages, and imports neither."""

    def noting(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **fields: Any) -> Any:
            with recorder.working():
                frame = recorder.callers.nearest(skip_stdlib=True, depth=2)
                if frame is not None and recorder.callers.kind(frame.f_code.co_filename) == USER:
                    text = "%s returns results in the order in which they are finished" % name
                    where = recorder.callers.describe(frame)
                    taken = args[0] if args else fields.get("fs")
                    ordered = name == "imap_unordered" or isinstance(taken, (list, tuple, dict))
                    quoted = (
                        {}
                        if not ordered
                        else _quoted(linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip())
                    )
                    recorder.note("unordered", text, stage="sample", call=name, **where, **quoted)
            return original(*args, **fields)

        return call

    def futures(module: Any) -> None:
        original = module.as_completed
        call = noting(original, "concurrent.futures.as_completed")
        for place in (module, module._base):
            rebind(place, original, call)

    def pools(module: Any) -> None:
        module.Pool.imap_unordered = noting(module.Pool.imap_unordered, "imap_unordered")

    def queues(module: Any) -> None:
        original = module.Queue.put
        putters: Any = weakref.WeakKeyDictionary()

        @functools.wraps(original)
        def put(self: Any, *args: Any, **fields: Any) -> Any:
            known = putters.get(self)
            name = threading.current_thread().name  # an ident is given to the next thread when one ends
            if known is None or (name not in known and len(known) < 2):
                with recorder.working():
                    frame = recorder.callers.nearest(skip_files=("/queue.py",), depth=2)  # put_nowait is there
                    if frame is not None and recorder.callers.kind(frame.f_code.co_filename) == USER:
                        known = putters.setdefault(self, set())
                        known.add(name)
                        if len(known) == 2:
                            text = "queue.Queue returns the items of several threads in the order of their timing"
                            where = recorder.callers.describe(frame)
                            recorder.note("unordered", text, stage="sample", call="queue.Queue", **where)
            return original(self, *args, **fields)

        module.Queue.put = put

    when_imported("queue", queues)
    when_imported("concurrent.futures", futures)
    when_imported("multiprocessing.pool", pools)


def _quoted(line: str) -> Dict[str, str]:
    """{"line_text", "line_fixed"}: the user's line, and the same with results in the order of submission; nothing where that is not sure.

    `as_completed(futures)` becomes `futures`, unless it is a set, has a timeout, or ends on another line."""
    if not line or len(line) > LINE_CHARS_MAX:
        return {}
    if "imap_unordered" in line:
        return {"line_text": line, "line_fixed": line.replace("imap_unordered", "imap")}
    found = re.search(r"(?:[\w.]+\.)?as_completed\(", line)
    if found is None:
        return {}
    depth, end = 1, found.end()
    while end < len(line) and depth:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(line[end], 0)
        end += 1
    argument = line[found.end() : end - 1].strip()
    if depth or not re.fullmatch(r"[\w.]+|\[.*\]", argument):
        return {}
    return {"line_text": line, "line_fixed": line[: found.start()] + argument + line[end:]}
