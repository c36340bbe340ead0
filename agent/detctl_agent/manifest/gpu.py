"""GPUs and their driver, by NVML; no library and no nvidia-smi: none."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from typing import Any

SMI_TIMEOUT_S = 20.0
_QUERY = "name,driver_version,uuid,memory.total"


@cache
def gpu_facts() -> list[dict[str, Any]]:
    """One entry a GPU: name, driver, uuid, memory_bytes. Asked once: an agent outlives no driver."""
    return _by_nvml() or _by_smi()


def _by_nvml() -> list[dict[str, Any]]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            found.append(
                {
                    "name": _text(pynvml.nvmlDeviceGetName(device)),
                    "driver": driver,
                    "uuid": _text(pynvml.nvmlDeviceGetUUID(device)),
                    "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(device).total),
                }
            )
        return found
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _by_smi() -> list[dict[str, Any]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SMI_TIMEOUT_S, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in answer.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[3].isdigit():
            memory = int(parts[3]) * 1024 * 1024
            found.append({"name": parts[0], "driver": parts[1], "uuid": parts[2], "memory_bytes": memory})
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
