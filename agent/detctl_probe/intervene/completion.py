"""Intervention `completion=asked`: the program gets results of pools in the order of its requests, not in that of completion.

It acts on concurrent.futures.as_completed and on imap_unordered of multiprocessing's pools (threads' too). It does not affect results that
a program passes through its own queue.
"""

from __future__ import annotations

import itertools
import time
from typing import Any, Iterable, Iterator, Optional

from detctl_probe.intervene.requested import option_value
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import rebind
from detctl_probe.recording.recorder import Recorder

NAME = "completion"
NUMBER = "_detctl_number"


def install(recorder: Recorder) -> None:
    """Raises ValueError for any value but `asked`."""
    value = option_value(recorder, NAME, lambda text: text == "asked", "asked")
    taken = 0

    def acted() -> None:
        nonlocal taken
        taken += 1
        recorder.intervention(
            NAME, value, True, "the program got results in the order of its requests %d times" % taken
        )

    recorder.intervention(NAME, value, False, "the program requested no results in the order of completion")
    when_imported("concurrent.futures", lambda futures: _order_futures(futures, acted))
    when_imported("multiprocessing.pool", lambda pools: _order_pools(pools, acted))


def _order_futures(futures: Any, acted: Any) -> None:
    base = futures._base
    original, numbers, construct = base.as_completed, itertools.count(), futures.Future.__init__

    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        construct(self, *args, **fields)
        setattr(self, NUMBER, next(numbers))

    def as_completed(fs: Iterable[Any], timeout: Optional[float] = None) -> Iterator[Any]:
        end = None if timeout is None else time.monotonic() + timeout
        acted()
        # A set has no order of its own: futures are made in the order of the requests.
        for future in sorted(set(fs), key=lambda one: getattr(one, NUMBER, -1)):
            base.wait([future], None if end is None else max(0.0, end - time.monotonic()))
            if not future.done():
                raise base.TimeoutError("futures unfinished")
            yield future

    futures.Future.__init__ = __init__
    for module in (base, futures):
        rebind(module, original, as_completed)


def _order_pools(pools: Any, acted: Any) -> None:
    def imap_unordered(self: Any, *args: Any, **fields: Any) -> Any:
        acted()
        return self.imap(*args, **fields)

    pools.Pool.imap_unordered = imap_unordered
