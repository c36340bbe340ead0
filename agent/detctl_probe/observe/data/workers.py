"""Inside the fetchers of DataLoaders, in workers and in the main process alike: where a fetch begins and ends.

A forked worker inherits these patches; a spawned one gets them when its Collator is unpickled (`prepare`), before its loop
starts. A worker that serves a Collator becomes a worker for the recorder too: its records wait for the next batch.
The states of its generators are recorded at its start (site `worker0/torch/start`, before worker_init_fn) and at its first
fetch (`worker0/torch`).
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable, Optional, Type

from detctl_probe.observe.data import loader_generators
from detctl_probe.observe.data.loader_traces import prune
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import CHILD, WORKER, Recorder, recorder

_MARK = "_detctl_patched"


def prepare(collator_kind: Type[Any]) -> None:
    """Puts the patches in place, once a process. collator_kind: the class that replaces collate_fn in observed loaders."""
    fetch = sys.modules.get("torch.utils.data._utils.fetch")
    worker = sys.modules.get("torch.utils.data._utils.worker")
    utils = sys.modules.get("torch._utils")
    if fetch is None or worker is None or utils is None or getattr(fetch, _MARK, False):
        return
    setattr(fetch, _MARK, True)
    for fetcher in (fetch._MapDatasetFetcher, fetch._IterableDatasetFetcher):
        fetcher.fetch = _fetch(fetcher.fetch, collator_kind)
    # Its constructor runs only in a worker's loop, after torch has seeded the generators and before worker_init_fn.
    worker.WorkerInfo.__init__ = _worker_info(worker.WorkerInfo.__init__, worker._worker_loop.__code__, collator_kind)
    utils.ExceptionWrapper.__init__ = _exception_wrapper(utils.ExceptionWrapper.__init__)


def started(owner: Optional[Recorder]) -> None:
    """The first fetch of a worker: its generators as worker_init_fn and the dataset's __iter__ left them."""
    _record_generators(owner, "")


def _fetch(original: Callable[..., Any], collator_kind: Type[Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def fetch(self: Any, possibly_batched_index: Any) -> Any:
        collator: Any = self.collate_fn
        if type(collator) is not collator_kind:
            return original(self, possibly_batched_index)
        collator.begin(self.dataset, possibly_batched_index)
        try:
            return original(self, possibly_batched_index)
        finally:
            collator.end()

    return fetch


def _worker_info(original: Callable[..., None], loop: Any, collator_kind: Type[Any]) -> Callable[..., None]:
    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        original(self, *args, **fields)
        try:
            caller = sys._getframe(1)
            if caller.f_code is loop and type(caller.f_locals.get("collate_fn")) is collator_kind:
                _become_worker(recorder(), getattr(self, "id", None))
        except Exception as error:
            if from_signal(error):
                raise

    return __init__


def _exception_wrapper(original: Callable[..., None]) -> Callable[..., None]:
    """A worker sends an exception as text with a traceback: removes the probe's lines from it."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        if not args and fields.get("exc_info") is None:
            prune(sys.exc_info()[1])
        original(self, *args, **fields)

    return __init__


def _become_worker(owner: Optional[Recorder], number: Optional[int]) -> None:
    if owner is None or owner.role not in (CHILD, WORKER):
        return
    owner.become_worker()
    _record_generators(owner, "/start", number)


def _record_generators(owner: Optional[Recorder], when: str, number: Optional[int] = None) -> None:
    if owner is None or owner.role != WORKER:
        return
    if number is None:
        number = getattr(sys.modules["torch.utils.data._utils.worker"]._worker_info, "id", None)
    for name, fingerprint in loader_generators.fingerprints(loader_generators.snapshot()).items():
        owner.record("rng", "worker%s/%s%s" % (number, name, when), fingerprint)
