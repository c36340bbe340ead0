"""Notes what the user's threads do that depends on their timing (kinds `threads`, `thread-order`; `thread-step` is the optimizer's).

* `threads`: at least two threads (or tasks of asyncio) run a function of the user that draws from a generator which they share, or that
  changes something which they share (`rows.append`, `db.execute`, `counts[key] += 1`). The note has the line that starts them and the line
  that does it. One thread counts as well if it draws from a global generator, which the main thread shares.
* `thread-order`: a digest of the order in which the tasks of pools of threads have finished, at 4, 8, 16 … tasks. If it differs between
  twins, the threads were interleaved differently.

Only threads that the user's own code starts count, directly or through concurrent.futures and multiprocessing.pool.ThreadPool. The source
of a function is read once, when a thread starts that runs it.
"""

from __future__ import annotations

import functools
import threading
from hashlib import blake2b
from typing import Any, Callable, Dict, Optional, Set

from detctl_probe.observe.host import shared_state
from detctl_probe.process.callers import USER
from detctl_probe.process.imports import when_imported
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder

FUNCTIONS_MAX = 256
TASKS_MAX = 1 << 12
FIRST_COUNT = 4
STARTED = "_detctl_started"


def install(recorder: Recorder) -> None:
    """Wraps the start of threads now, and the submission of tasks when their packages are imported."""
    watch = _Threads(recorder)
    start = threading.Thread.start

    @functools.wraps(start)
    def starting(self: Any) -> Any:
        watch.starts(self)
        return start(self)

    threading.Thread.start = starting  # type: ignore[method-assign]
    when_imported("concurrent.futures.thread", watch.futures)
    when_imported("multiprocessing.pool", watch.pools)
    when_imported("asyncio.base_events", watch.loops)


def started_at(recorder: Recorder) -> Dict[str, Any]:
    """{"thread": name, "file", "line", "function"} of the user's line that started this thread; only the name where that is unknown."""
    thread = threading.current_thread()
    return {"thread": thread.name, **(getattr(thread, STARTED, None) or {})}


class _Threads:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._runs: Dict[Any, int] = {}  # code -> threads or tasks that run it
        self._noted: Set[Any] = set()
        self._order = _Order(recorder)

    def starts(self, thread: Any) -> None:
        """A thread is about to start."""
        if self._recorder.sealed or self._recorder.busy:
            return
        try:
            with self._recorder.working():
                where = self._user_line()
                if where is None:
                    return
                setattr(thread, STARTED, where)
                function = getattr(thread, "_target", None)
                if function is None and type(thread).run is not threading.Thread.run:
                    function = thread.run
                if function is not None:
                    self._run_by(function, where, 2)
        except Exception as error:
            self._failed(error)

    def loops(self, module: Any) -> None:
        """Watches the tasks of asyncio's loops."""
        create = module.BaseEventLoop.create_task

        @functools.wraps(create)
        def create_task(loop: Any, coro: Any, **kwargs: Any) -> Any:
            code = getattr(coro, "cr_code", None)
            if code is not None and code not in self._noted and self._recorder.callers.kind(code.co_filename) == USER:
                self._submitted(shared_state.run_by(coro), tasks=True)
            return create(loop, coro, **kwargs)

        module.BaseEventLoop.create_task = create_task

    def futures(self, module: Any) -> None:
        """Watches the tasks of ThreadPoolExecutor."""
        submit, run = module.ThreadPoolExecutor.submit, module._WorkItem.run

        @functools.wraps(submit)
        def submitting(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1 and getattr(args[0], "_max_workers", 1) > 1:
                self._submitted(args[1])
            return submit(*args, **kwargs)

        @functools.wraps(run)
        def running(item: Any) -> Any:
            number = self._order.starts(item)
            result = run(item)
            self._order.ends(number)
            return result

        module.ThreadPoolExecutor.submit = submitting
        module._WorkItem.run = running

    def pools(self, module: Any) -> None:
        """Watches the functions that multiprocessing's ThreadPool maps."""
        for name in ("apply_async", "map", "map_async", "imap", "imap_unordered", "starmap"):
            setattr(module.Pool, name, self._mapping(getattr(module.Pool, name), module.ThreadPool))

    def _mapping(self, original: Callable[..., Any], kind: Any) -> Callable[..., Any]:
        @functools.wraps(original)
        def mapping(pool: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(pool, kind) and getattr(pool, "_processes", 1) > 1:
                self._submitted(func, 1)
            return original(pool, func, *args, **kwargs)

        return mapping

    def _submitted(self, function: Any, needed: int = 2, tasks: bool = False) -> None:
        code = shared_state.code_of(function)
        recorder = self._recorder
        if code is None or code in self._noted or recorder.sealed or recorder.busy:
            return
        try:
            with recorder.working():
                where = self._user_line()
                if where is not None:
                    self._run_by(function, where, needed, tasks)
        except Exception as error:
            self._failed(error)

    def _run_by(self, function: Any, where: Dict[str, Any], needed: int, tasks: bool = False) -> None:
        """Notes what a function shares, once `needed` threads or tasks run it; at once if it draws from a global generator."""
        code = shared_state.code_of(function)
        if code is None or code in self._noted or len(self._runs) >= FUNCTIONS_MAX:
            return
        recorder = self._recorder
        if recorder.callers.kind(code.co_filename) != USER:
            return
        self._runs[code] = self._runs.get(code, 0) + 1
        several = self._runs[code] >= needed
        if tasks and not several:
            return  # nothing runs beside a single task
        if several:
            self._noted.add(code)
        elif self._runs[code] > 1:
            return
        is_user: Callable[[str], bool] = lambda file: recorder.callers.kind(file) == USER  # noqa: E731
        found = shared_state.find(function, is_user, only_global=not several)
        if found is None:
            return
        at = "%s:%d" % (recorder.logical(found.file), found.line)
        who = "several tasks run" if tasks else "several threads run" if several else "a thread runs"
        if found.generator:
            text = "%s %s, which draws from a generator that it shares with others: %s (%s)"
        else:
            text = "%s %s, which changes what they share: %s (%s)"
        recorder.note(
            "threads", text % (who, code.co_name, found.call, at), stage="sample", call=code.co_name, shared=found.call,
            at=at, generator=found.generator, steps=found.call.endswith(".step"), several=several, **where,
        )  # fmt: skip

    def _user_line(self) -> Optional[Dict[str, Any]]:
        """Where the user's code starts a thread or submits a task; None if a package does."""
        callers = self._recorder.callers
        frame = callers.nearest(skip_stdlib=True, depth=2)
        if frame is None or callers.kind(frame.f_code.co_filename) != USER:
            return None
        return callers.describe(frame)

    def _failed(self, error: Exception) -> None:
        if from_signal(error):
            raise error
        self._recorder.note("observer-failed", "threads: %s: %s" % (type(error).__name__, error))


class _Order:
    """The order in which tasks end, as numbers of the order in which they were taken. A pool takes them in the order of submission."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._started = 0
        self._ended = 0
        self._next = FIRST_COUNT
        self._digest = blake2b(digest_size=8)

    def starts(self, _: Any) -> int:
        number = self._started
        self._started = number + 1
        return number

    def ends(self, number: int) -> None:
        if self._ended >= TASKS_MAX or self._recorder.sealed:
            return
        self._digest.update(b"%d," % number)
        self._ended += 1
        if self._ended == self._next:
            self._next *= 2
            text = "the first %d tasks of threads have ended" % self._ended
            self._recorder.note("thread-order", text, count=self._ended, order=self._digest.hexdigest())
