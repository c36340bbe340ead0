"""Intervention `attention=math`: scaled_dot_product_attention computes its plain formula, without fused kernels."""

from __future__ import annotations

from typing import Any, Dict

from detctl_probe.intervene.numerics.torch_switches import Switches, hold
from detctl_probe.intervene.requested import option_value
from detctl_probe.recording.recorder import Recorder

NAME = "attention"
_KERNELS = ("flash", "mem_efficient", "cudnn", "math")  # cudnn came with torch 2.5


def install(recorder: Recorder) -> None:
    """Raises ValueError for any value but `math`."""
    value = option_value(recorder, NAME, "math".__eq__, "math")
    hold(recorder, NAME, value, Switches(_write, _read, {kernel: kernel == "math" for kernel in _KERNELS}))


def _write(torch: Any) -> None:
    for kernel in _KERNELS:
        enable = getattr(torch.backends.cuda, "enable_%s_sdp" % kernel, None)
        if enable is not None:
            enable(kernel == "math")


def _read(torch: Any) -> Dict[str, Any]:
    found = {}
    for kernel in _KERNELS:
        enabled = getattr(torch.backends.cuda, "%s_sdp_enabled" % kernel, None)
        found[kernel] = bool(enabled()) if enabled is not None else False
    return found
