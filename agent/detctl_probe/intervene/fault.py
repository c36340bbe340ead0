"""Intervention `fault`: plants a known fault, which detctl must find. `ulp:K` moves one number of one parameter to its neighbour before
step K; `swap:K` swaps two samples of batch K.

`ulp` takes the first parameter of the first optimizer, and of it the largest of its first numbers. It needs a step before K, in which the
parameters become known. `swap` swaps indices before the fetch, as a sampler would; a batch of less than two samples stays as it is.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable

from detctl_probe.intervene.requested import option_value
from detctl_probe.observe.model.steps import model_of
from detctl_probe.recording.recorder import WORKER, Recorder

NAME = "fault"
LOOKED_AT = 1024


def install(recorder: Recorder) -> None:
    """Raises ValueError for any other value."""
    value = option_value(recorder, NAME, _is_fault, "ulp:STEP or swap:BATCH")
    kind, _, at = value.partition(":")
    recorder.intervention(NAME, value, False, "it found nothing to change")

    def planted(what: str) -> None:
        recorder.intervention(NAME, value, True, what)

    if kind == "swap":
        _swap(int(at), planted)
    else:
        recorder.at_step_start(functools.partial(_nudge, recorder, int(at), planted))


def _is_fault(value: str) -> bool:
    kind, _, at = value.partition(":")
    return kind in ("ulp", "swap") and at.isdigit()


def _nudge(recorder: Recorder, step: int, planted: Callable[[str], None]) -> None:
    torch = sys.modules["torch"]
    if recorder.step != step or recorder.role == WORKER:
        return
    with recorder.working(), torch.no_grad():
        for optimizer in model_of(recorder).optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if not parameter.is_floating_point() or not parameter.numel():
                        continue
                    values = parameter.data.reshape(-1)  # the parameter itself where it is contiguous
                    if values.data_ptr() != parameter.data_ptr():
                        continue
                    at = int(values[:LOOKED_AT].abs().argmax())
                    one = values[at : at + 1]
                    one.copy_(_neighbour(torch, one))
                    shape = list(parameter.shape)
                    planted("number %d of a parameter of %s moved by one ulp before step %d" % (at, shape, step))
                    return


def _neighbour(torch: Any, one: Any) -> Any:
    if one.dtype in (torch.float32, torch.float64):
        return torch.nextafter(one, torch.full_like(one, float("inf")))
    return one + one.abs() * torch.finfo(one.dtype).eps  # torch has no nextafter for all of the small types


def _swap(batch: int, planted: Callable[[str], None]) -> None:
    base = sys.modules["torch.utils.data.dataloader"]._BaseDataLoaderIter
    original = base._next_index
    drawn = -1

    @functools.wraps(original)
    def next_index(self: Any) -> Any:
        nonlocal drawn
        index = original(self)
        drawn += 1
        if drawn == batch and isinstance(index, list) and len(index) > 1 and index[0] != index[1]:
            index = [index[1], index[0], *index[2:]]
            planted("the first two samples of batch %d changed places" % batch)
        return index

    base._next_index = next_index
