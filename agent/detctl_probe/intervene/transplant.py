"""Intervention `transplant=init:RUN` (`batch:RUN`, `rng:RUN`, `init+batch:RUN`): this run takes the values that another run kept (keep.py).

The agent has put them into the folder `given` of the settings: index.json, name -> {"dtype", "shape", "file"}, and files of plain
bytes. Weights are copied in before they are digested, so the records of stage init show what the run really began with. Batches and
states of generators are recorded first and then overwritten, so their effects show only in later stages.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, Mapping, Set

from detctl_probe.intervene.keep import STATE, is_what, watch
from detctl_probe.intervene.randomness.generator_states import restore, states
from detctl_probe.intervene.requested import option_value
from detctl_probe.observe.model.tensors import dtype_name
from detctl_probe.recording.recorder import Recorder

NAME = "transplant"


class _Given:
    """The values to take, and those that were taken."""

    def __init__(self, recorder: Recorder, value: str) -> None:
        self._recorder, self._value = recorder, value
        self._folder = recorder.settings.given
        with open(os.path.join(self._folder, "index.json"), encoding="utf-8") as file:
            self._given: Dict[str, Any] = json.load(file)
        self._taken: Set[str] = set()
        self._without: Set[str] = set()
        self._report()

    def tensor(self, name: str, tensor: Any) -> None:
        torch = sys.modules["torch"]
        one = self._given.get(name)
        if one is None or one["dtype"] != dtype_name(tensor.dtype) or one["shape"] != list(tensor.shape):
            self._without.add(name)
        else:
            content = bytearray(self._content(one))
            with torch.no_grad():
                if content:
                    tensor.data.copy_(torch.frombuffer(content, dtype=tensor.dtype).reshape(tensor.shape))
            self._taken.add(name)
        self._report()

    def states(self) -> None:
        for generator in states():
            name = STATE % (self._recorder.step, generator)
            one = self._given.get(name)
            if one is None:
                self._without.add(name)
                continue
            restore(generator, self._content(one))
            self._taken.add(name)
        self._report()

    def _content(self, one: Mapping[str, Any]) -> bytes:
        with open(os.path.join(self._folder, one["file"]), "rb") as file:
            return file.read()

    def _report(self) -> None:
        detail = "the run took %d of %d values" % (len(self._taken), len(self._given))
        if self._without:
            detail += "; missing, or of another shape: " + ", ".join(sorted(self._without)[:5])
        self._recorder.intervention(NAME, self._value, bool(self._taken) and not self._without, detail)


def install(recorder: Recorder) -> None:
    """Raises ValueError for a value that is not a transplant, OSError if the folder holds nothing."""
    value = option_value(recorder, NAME, lambda text: is_what(text.partition(":")[0]), "init:RUN, batch:RUN or rng:RUN")
    given = _Given(recorder, value)
    watch(recorder, value.partition(":")[0], given.tensor, given.states)
