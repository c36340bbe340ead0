"""Intervention `worker_seeds=N`: DataLoader workers seed random, numpy and torch before each fetch, by N, the worker and the index.

The draws for a sample then do not depend on earlier draws. The intervention masks: it shows that draws in workers had an effect, but not
which. It seeds nothing in the main process.
"""

from __future__ import annotations

import functools
import sys
from hashlib import blake2b
from typing import Any

from detctl_probe.intervene.randomness.seed import seed_all
from detctl_probe.intervene.requested import option_value
from detctl_probe.recording.recorder import Recorder

NAME = "worker_seeds"


def install(recorder: Recorder) -> None:
    """Raises ValueError for a value that is not a number."""
    value = option_value(recorder, NAME, str.isdigit, "a number")
    recorder.intervention(NAME, value, False, "no worker fetched anything")
    data = sys.modules["torch.utils.data"]
    fetchers = sys.modules["torch.utils.data._utils.fetch"]
    for kind in (fetchers._MapDatasetFetcher, fetchers._IterableDatasetFetcher):
        kind.fetch = _seeding(recorder, kind.fetch, value, data.get_worker_info)
    iterator = sys.modules["torch.utils.data.dataloader"]._MultiProcessingDataLoaderIter
    original = iterator.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        original(self, *args, **fields)
        recorder.intervention(NAME, value, True, "%d workers are seeded before each fetch" % self._num_workers)

    iterator.__init__ = __init__


def _seeding(recorder: Recorder, original: Any, value: str, worker_info: Any) -> Any:
    @functools.wraps(original)
    def fetch(self: Any, index: Any) -> Any:
        info = worker_info()
        if info is not None:
            first = index[0] if isinstance(index, list) and index else index
            text = "%s %d %r" % (value, info.id, first)
            seed_all(recorder, int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big"))
        return original(self, index)

    return fetch
