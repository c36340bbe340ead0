"""Intervention `deterministic=on`: torch and cuDNN use deterministic algorithms, without benchmarking. Operations that have none warn.

Fused attention needs more than the switch (fused_attention.py). CUBLAS_WORKSPACE_CONFIG gets a value before CUDA starts, unless it has one.
The intervention masks: it shows that a race between kernels changed the result, but not which.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Dict

from detctl_probe.intervene.numerics.fused_attention import FusedAttention
from detctl_probe.intervene.numerics.torch_switches import Switches, hold
from detctl_probe.intervene.requested import option_value
from detctl_probe.recording.recorder import Recorder

NAME = "deterministic"
_TARGET = {"deterministic algorithms": True, "cudnn.deterministic": True, "cudnn.benchmark": False}


def install(recorder: Recorder) -> None:
    """Raises ValueError for any value but `on`."""
    value = option_value(recorder, NAME, "on".__eq__, "on")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    attention = FusedAttention(sys.modules["torch"])
    hold(recorder, NAME, value, Switches(_write, _read, _TARGET), attention.report)


def _write(torch: Any) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def _read(torch: Any) -> Dict[str, Any]:
    return {
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
    }
