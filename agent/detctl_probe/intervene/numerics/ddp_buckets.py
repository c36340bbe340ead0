"""Intervention `ddp_buckets=one`: DistributedDataParallel reduces all gradients in one bucket.

It would otherwise cut them into buckets, and cut them again after the first step, which changes sums.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from detctl_probe.intervene.requested import option_value
from detctl_probe.recording.recorder import Recorder

NAME = "ddp_buckets"
MEGABYTES = 1 << 20  # more than any model has


def install(recorder: Recorder) -> None:
    """Raises ValueError for any value but `one`."""
    value = option_value(recorder, NAME, "one".__eq__, "one")
    recorder.intervention(NAME, value, False, "the program built no DistributedDataParallel")
    kind = sys.modules["torch.nn.parallel"].DistributedDataParallel
    original = kind.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        fields["bucket_cap_mb"] = MEGABYTES
        original(self, *args, **fields)
        recorder.intervention(NAME, value, True, "bucket_cap_mb=%d" % MEGABYTES)

    kind.__init__ = __init__
