"""GPUs, their firmware and their driver, by NVML or nvidia-smi; without both the section is empty.

Values that change all the time (current clocks, temperature, free memory) are left out: they would differ between any two runs.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

SMI_TIMEOUT_S = 20.0
_QUERY = "name,driver_version,uuid,memory.total"
# Older programs refuse a query with an unknown field, so each of these is a separate query.
_MORE = {
    "vbios": "vbios_version", "board": "gpu_part_number", "firmware": "gsp.firmware.version", "inforom": "inforom.img",
    "ecc": "ecc.mode.current", "mig": "mig.mode.current", "max_sm_clock_mhz": "clocks.max.sm",
    "max_memory_clock_mhz": "clocks.max.memory",
}  # fmt: skip
NVLINKS_MAX = 18


@cache
def gpu_facts() -> list[dict[str, Any]]:
    """One entry for each GPU: name, driver, uuid, memory_bytes, and what its driver reports of vbios, board, firmware, inforom, ecc, mig,
    max_sm_clock_mhz, max_memory_clock_mhz and nvlinks (active ones). Cached, because a driver does not change while an agent runs."""
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
                    **_more_by_nvml(pynvml, device),
                }
            )
        return found
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _more_by_nvml(pynvml: Any, device: Any) -> dict[str, Any]:
    """The facts that this board and driver support."""
    questions: dict[str, Callable[[], Any]] = {
        "vbios": lambda: _text(pynvml.nvmlDeviceGetVbiosVersion(device)),
        "board": lambda: _text(pynvml.nvmlDeviceGetBoardPartNumber(device)),
        "firmware": lambda: _text(pynvml.nvmlDeviceGetGspFirmwareVersion(device)),
        "inforom": lambda: _text(pynvml.nvmlDeviceGetInforomImageVersion(device)),
        "ecc": lambda: _switch(pynvml.nvmlDeviceGetEccMode(device)[0]),
        "mig": lambda: _switch(pynvml.nvmlDeviceGetMigMode(device)[0]),
        "max_sm_clock_mhz": lambda: int(pynvml.nvmlDeviceGetMaxClockInfo(device, pynvml.NVML_CLOCK_SM)),
        "max_memory_clock_mhz": lambda: int(pynvml.nvmlDeviceGetMaxClockInfo(device, pynvml.NVML_CLOCK_MEM)),
        "nvlinks": lambda: _active_links(pynvml, device),
    }
    found = {}
    for name, ask in questions.items():
        try:
            found[name] = ask()
        except (pynvml.NVMLError, AttributeError):  # not supported by this board, or by an older binding
            continue
    return found


def _active_links(pynvml: Any, device: Any) -> int:
    """Number of active NVLinks; raises NVMLError if the board has none."""
    states = [pynvml.nvmlDeviceGetNvLinkState(device, 0)]
    for link in range(1, NVLINKS_MAX):
        try:
            states.append(pynvml.nvmlDeviceGetNvLinkState(device, link))
        except pynvml.NVMLError:  # this board has fewer
            break
    return sum(bool(state) for state in states)


def _switch(on: int) -> str:
    return "on" if on else "off"


def _by_smi() -> list[dict[str, Any]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    found = []
    for parts in _query(program, _QUERY):
        if len(parts) == 4 and parts[3].isdigit():
            memory = int(parts[3]) * 1024 * 1024
            found.append({"name": parts[0], "driver": parts[1], "uuid": parts[2], "memory_bytes": memory})
    for name, question in _MORE.items():
        answers = _query(program, question)
        for gpu, (answer,) in zip(found, answers if len(answers) == len(found) else (), strict=False):
            if answer and not answer.startswith("["):  # [N/A], [Not Supported]
                gpu[name] = (
                    int(answer) if answer.isdigit() else {"Enabled": "on", "Disabled": "off"}.get(answer, answer)
                )
    return found


def _query(program: str, query: str) -> list[list[str]]:
    """One row for each GPU; empty if the program does not know the field."""
    try:
        answer = subprocess.run(
            [program, f"--query-gpu={query}", "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SMI_TIMEOUT_S, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return [[part.strip() for part in line.split(",")] for line in answer.splitlines()]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
