"""Intervention `precision=highest`: float32 products in float32, without TF32 or reductions in reduced precision.

It does not change the program's autocast.
"""

from __future__ import annotations

from typing import Any, Dict

from detctl_probe.intervene.numerics.torch_switches import Switches, hold
from detctl_probe.intervene.requested import option_value
from detctl_probe.recording.recorder import Recorder

NAME = "precision"
_REDUCED = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
_TARGET: Dict[str, Any] = {"matmul precision": "highest", "cudnn.allow_tf32": False, **dict.fromkeys(_REDUCED, False)}


def install(recorder: Recorder) -> None:
    """Raises ValueError for any value but `highest`."""
    value = option_value(recorder, NAME, "highest".__eq__, "highest")
    hold(recorder, NAME, value, Switches(_write, _read, _TARGET))


def _write(torch: Any) -> None:
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for name in _REDUCED:
        setattr(torch.backends.cuda.matmul, name, False)


def _read(torch: Any) -> Dict[str, Any]:
    matmul = torch.backends.cuda.matmul
    return {
        "matmul precision": torch.get_float32_matmul_precision(),
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        **{name: _first(getattr(matmul, name)) for name in _REDUCED},
    }


def _first(value: Any) -> Any:
    """Newer versions of torch give (allowed, split-k allowed)."""
    return value[0] if isinstance(value, tuple) else value
