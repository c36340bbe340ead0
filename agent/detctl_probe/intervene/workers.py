"""Intervention `workers=N`: every DataLoader is built with num_workers=N, whatever the program requests.

`workers=0` also removes the options that torch allows only with workers; WITHOUT_WORKERS lists them (docs/adr/0020).
The read-back counts the loaders by their workers before and after. If the program builds none, it reports that nothing changed.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections import Counter
from typing import Any, Callable, Dict, Tuple

from detctl_probe.intervene.requested import option_value
from detctl_probe.recording.recorder import Recorder

NAME = "workers"
WORKERS_MAX = 1024
# Values that torch's constructor takes together with num_workers=0.
WITHOUT_WORKERS: Dict[str, Any] = {
    "persistent_workers": False,
    "prefetch_factor": None,
    "multiprocessing_context": None,
    "timeout": 0,
}


def install(owner: Recorder) -> None:
    """Patches DataLoader.__init__. Raises ValueError for a value that is not a count."""
    value = option_value(owner, NAME, _is_count, "a number from 0 to %d" % WORKERS_MAX)
    owner.intervention(NAME, value, False, "no DataLoader was built: nothing to change")
    kind = sys.modules["torch.utils.data"].DataLoader
    kind.__init__ = _forced(kind.__init__, int(value), ReadBack(owner, value))


def _is_count(value: str) -> bool:
    return value.isdigit() and int(value) <= WORKERS_MAX


class ReadBack:
    """Counts loaders by the workers that the program requested and those that they got."""

    def __init__(self, owner: Recorder, value: str) -> None:
        self._owner = owner
        self._value = value
        self._changes: "Counter[Tuple[int, int]]" = Counter()

    def built(self, requested: int, got: int) -> None:
        """Counts one more loader."""
        self._changes[(requested, got)] += 1
        changed = sum(count for (a, b), count in self._changes.items() if a != b)
        parts = ["%s: %d → %d" % (_loaders(count), a, b) for (a, b), count in sorted(self._changes.items())]
        if not changed:
            parts.append("nothing to change")
        in_effect = all(b == int(self._value) for _, b in self._changes)
        self._owner.intervention(NAME, self._value, in_effect, "; ".join(parts))


def _forced(original: Callable[..., None], count: int, read_back: ReadBack) -> Callable[..., None]:
    signature = inspect.signature(original)

    @functools.wraps(original)  # inspect.signature must see the original: Lightning rebuilds loaders by it
    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        try:
            bound = signature.bind(self, *args, **fields)
            requested = int(bound.arguments.get("num_workers", 0))
        except (TypeError, ValueError):
            original(self, *args, **fields)  # torch raises its own error
            return
        if requested < 0:
            original(self, *args, **fields)
            return
        bound.arguments["num_workers"] = count
        if count == 0:
            for name, value in WITHOUT_WORKERS.items():
                if name in bound.arguments:
                    bound.arguments[name] = value
        original(*bound.args, **bound.kwargs)
        read_back.built(requested, int(self.num_workers))

    return __init__


def _loaders(count: int) -> str:
    return "1 loader" if count == 1 else "%d loaders" % count
