"""Notes where the user's code takes the results of a pool as they are finished (`unordered`): their order is one of timing.

No record: what comes of it is seen where it reaches the data. concurrent.futures.as_completed and imap_unordered of multiprocessing's
pools are watched; a queue that several threads fill is not.
"""

from __future__ import annotations

import functools
from typing import Any, Callable

from detctl_probe.callers import USER
from detctl_probe.imports import when_imported
from detctl_probe.patching import rebind
from detctl_probe.recorder import Recorder


def install(recorder: Recorder) -> None:
    """Once a process; both packages are awaited, never imported."""

    def noting(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **fields: Any) -> Any:
            with recorder.working():
                frame = recorder.callers.nearest(skip_stdlib=True, depth=2)
                if frame is not None and recorder.callers.kind(frame.f_code.co_filename) == USER:
                    text = "%s gives results in the order in which they are finished" % name
                    recorder.note("unordered", text, stage="sample", call=name, **recorder.callers.describe(frame))
            return original(*args, **fields)

        return call

    def futures(module: Any) -> None:
        original = module.as_completed
        call = noting(original, "concurrent.futures.as_completed")
        for place in (module, module._base):
            rebind(place, original, call)

    def pools(module: Any) -> None:
        module.Pool.imap_unordered = noting(module.Pool.imap_unordered, "imap_unordered")

    when_imported("concurrent.futures", futures)
    when_imported("multiprocessing.pool", pools)
