"""Prints one JSON line about this machine: `machine_facts.py DEVICE`."""

from __future__ import annotations

import json
import os
import platform
import sys
from typing import Any


def versions() -> dict[str, str | None]:
    """Returns the versions of the packages that compute."""
    import numpy
    import torch

    found: dict[str, str | None] = {
        "python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda, "numpy": numpy.__version__,
    }  # fmt: skip
    try:
        import triton

        found["triton"] = triton.__version__
    except ImportError:
        found["triton"] = None
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    found["cudnn"] = None if cudnn is None else str(cudnn)
    return found


def main() -> int:
    """Runs the program that the module describes."""
    import torch
    from detctl_agent.manifest.gpu import gpu_facts
    from detctl_agent.manifest.machine import cpu

    found: dict[str, Any] = {
        "os": platform.platform(), "cpu": cpu()[0], "cores": os.cpu_count(), "versions": versions(), "gpus": gpu_facts(),
        "gpu": None, "driver": None, "gpu_usable": False,
    }  # fmt: skip
    if found["gpus"]:
        found["driver"] = found["gpus"][0].get("driver")
    if sys.argv[1] != "cpu":
        try:
            torch.ones(1, device=sys.argv[1]).item()
            properties = torch.cuda.get_device_properties(0)
            found.update(
                gpu=properties.name, gpu_usable=True, gpu_memory_bytes=properties.total_memory,
                capability=f"{properties.major}.{properties.minor}", gpu_count=torch.cuda.device_count(),
            )  # fmt: skip
        except (RuntimeError, AssertionError) as error:
            found["gpu_why"] = str(error)[:300]
    print(json.dumps(found, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
