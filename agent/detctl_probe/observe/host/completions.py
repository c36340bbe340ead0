"""Notes where the user's code takes results of several threads or processes in the order of their timing (`unordered`).

It makes no record: the effect shows where the results reach the data. The probe watches as_completed and wait of concurrent.futures and of
asyncio, callbacks of futures, imap_unordered of multiprocessing's pools, joblib's generator_unordered, queue.Queue with more than one
thread that puts, and queues of multiprocessing that several processes hold. It does not watch queue.SimpleQueue (a native type).
"""

from __future__ import annotations

import functools
import linecache
import re
import sys
import threading
import weakref
from typing import Any, Callable, Dict, List

from detctl_probe.process.callers import USER
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import rebind
from detctl_probe.recording.recorder import Recorder

LINE_CHARS_MAX = 160


def install(recorder: Recorder) -> None:
    """Called once in a process; waits for the import of each package, and imports none."""
    watch = _Completions(recorder)
    when_imported("queue", watch.queues)
    when_imported("concurrent.futures", watch.futures)
    when_imported("multiprocessing.pool", watch.pools)
    when_imported("multiprocessing.process", watch.processes)
    when_imported("multiprocessing.queues", watch.process_queues)
    when_imported("asyncio.tasks", watch.tasks)
    when_imported("joblib.parallel", watch.joblib)


class _Completions:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._putters: Any = weakref.WeakKeyDictionary()  # queue -> names of threads that put, until there are two
        self._holders: Any = weakref.WeakKeyDictionary()  # queue -> number of processes that got it

    # -- calls that return results as they finish ---------------------------------------------------------------------
    def futures(self, module: Any) -> None:
        self._rebind(module, module.as_completed, "concurrent.futures.as_completed")
        self._rebind(module, module.wait, "concurrent.futures.wait", _waits_for_all)
        add = module.Future.add_done_callback

        @functools.wraps(add)
        def add_done_callback(future: Any, fn: Any) -> Any:
            if not future.done():
                text = "a callback of a future is called when its result is finished"
                self._note(
                    "concurrent.futures.Future.add_done_callback", text, 2, direct=True
                )  # asyncio adds some, too
            return add(future, fn)

        module.Future.add_done_callback = add_done_callback

    def tasks(self, module: Any) -> None:
        self._rebind(module, module.as_completed, "asyncio.as_completed")
        self._rebind(module, module.wait, "asyncio.wait", _waits_for_all)

    def pools(self, module: Any) -> None:
        module.Pool.imap_unordered = self._noting(module.Pool.imap_unordered, "imap_unordered")

    def joblib(self, module: Any) -> None:
        def ordered(*_: Any, **fields: Any) -> bool:
            return fields.get("return_as") != "generator_unordered"

        module.Parallel.__init__ = self._noting(module.Parallel.__init__, "joblib.Parallel", ordered)

    def _rebind(
        self, module: Any, original: Any, name: str, ordered: Callable[..., bool] = lambda *_, **__: False
    ) -> None:
        call = self._noting(original, name, ordered)
        for place in (
            module,
            getattr(module, "_base", None),
            sys.modules.get("asyncio") if "asyncio" in name else None,
        ):
            if place is not None:
                rebind(place, original, call)

    def _noting(self, original: Any, name: str, ordered: Callable[..., bool] = lambda *_, **__: False) -> Any:
        """The call, which notes its user's line unless `ordered(arguments)`."""

        @functools.wraps(original)
        def call(*args: Any, **fields: Any) -> Any:
            if not ordered(*args, **fields):
                taken = args[0] if args else fields.get("fs")
                quoted = name == "imap_unordered" or isinstance(taken, (list, tuple, dict))
                text = "%s returns results in the order in which they are finished" % name
                self._note(name, text, 2, quoted=quoted)
            return original(*args, **fields)

        return call

    # -- queues -------------------------------------------------------------------------------------------------------
    def queues(self, module: Any) -> None:
        """Watches how many threads put into a queue.Queue."""
        original = module.Queue.put

        @functools.wraps(original)
        def put(queue: Any, *args: Any, **fields: Any) -> Any:
            known = self._putters.get(queue)
            name = threading.current_thread().name  # an ident is given to the next thread when one ends
            if known is None or (name not in known and len(known) < 2):
                with self._recorder.working():
                    frame = self._recorder.callers.nearest(skip_files=("/queue.py",), depth=2)  # put_nowait is there
                    if frame is not None and self._recorder.callers.kind(frame.f_code.co_filename) == USER:
                        known = self._putters.setdefault(queue, set())
                        known.add(name)
                        if len(known) == 2:
                            text = "queue.Queue returns the items of several threads in the order of their timing"
                            where = self._recorder.callers.describe(frame)
                            self._recorder.note("unordered", text, stage="sample", call="queue.Queue", **where)
            return original(queue, *args, **fields)

        module.Queue.put = put

    def processes(self, module: Any) -> None:
        """Counts the processes that get a queue as an argument."""
        original = module.BaseProcess.start

        @functools.wraps(original)
        def start(process: Any) -> Any:
            with self._recorder.working():
                for one in _arguments(process):
                    if any(kind.__module__ == "multiprocessing.queues" for kind in type(one).__mro__):
                        self._holders[one] = self._holders.get(one, 0) + 1
            return original(process)

        module.BaseProcess.start = start

    def process_queues(self, module: Any) -> None:
        """Watches who takes from a queue that several processes hold."""
        for kind in (module.Queue, module.SimpleQueue):
            kind.get = self._taking(kind.get)

    def _taking(self, original: Any) -> Any:
        @functools.wraps(original)
        def get(queue: Any, *args: Any, **fields: Any) -> Any:
            if self._holders.get(queue, 0) > 1:
                self._holders[queue] = 0  # once
                text = "a queue returns the items of several processes in the order of their timing"
                self._note("multiprocessing.Queue", text, 2, direct=True)  # pools have queues of their own
            return original(queue, *args, **fields)

        return get

    def _note(self, call: str, text: str, depth: int, *, quoted: bool = False, direct: bool = False) -> None:
        recorder = self._recorder
        if recorder.sealed or recorder.busy:
            return
        with recorder.working():
            frame = recorder.callers.nearest(skip_stdlib=not direct, depth=depth + 1)
            if frame is None or recorder.callers.kind(frame.f_code.co_filename) != USER:
                return
            where = recorder.callers.describe(frame)
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() if quoted else ""
            recorder.note("unordered", text, stage="sample", call=call, **where, **_quoted(line))


def _waits_for_all(*args: Any, **fields: Any) -> bool:
    """Whether a call of wait returns when all is finished. What it returns is a set, but all of it is there."""
    value = fields.get("return_when", args[2] if len(args) > 2 else "ALL_COMPLETED")
    return bool(value == "ALL_COMPLETED")


def _arguments(process: Any) -> List[Any]:
    """The arguments of a process and, of a subclass, its attributes."""
    found = [*getattr(process, "_args", ()), *getattr(process, "_kwargs", {}).values()]
    found += [value for name, value in vars(process).items() if not name.startswith("_")]
    return found


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
