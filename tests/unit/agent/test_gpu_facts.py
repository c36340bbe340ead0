"""Facts of a GPU by NVML and by nvidia-smi; no GPU is needed: both are stood in for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from detctl_agent.manifest import gpu
from detctl_coordinator.domain.manifest import flatten


@pytest.fixture(autouse=True)
def _asked_again() -> Iterator[None]:
    gpu.gpu_facts.cache_clear()
    yield
    gpu.gpu_facts.cache_clear()


class NVMLError(Exception):
    """As pynvml's."""


def nvml(**answers: Any) -> SimpleNamespace:
    """A pynvml whose board supports what `answers` names, beside the basics."""
    basics = {
        "nvmlInit": None, "nvmlShutdown": None, "nvmlSystemGetDriverVersion": b"580.1", "nvmlDeviceGetCount": 1,
        "nvmlDeviceGetHandleByIndex": "handle", "nvmlDeviceGetName": "NVIDIA T", "nvmlDeviceGetUUID": "GPU-1",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=5 << 30),
    }  # fmt: skip
    made = SimpleNamespace(NVMLError=NVMLError, NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2)
    for name, answer in {**basics, **answers}.items():
        setattr(made, name, answer if callable(answer) else lambda *_, answer=answer: answer)
    return made


def refused(*_: Any) -> Any:
    raise NVMLError("not supported")


def test_nvml_tells_firmware_board_modes_clocks_and_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(_: object, number: int) -> int:
        if number >= 4:
            raise NVMLError("no such link")
        return int(number != 2)

    module = nvml(
        nvmlDeviceGetVbiosVersion=b"96.00.89", nvmlDeviceGetBoardPartNumber="692-2", nvmlDeviceGetGspFirmwareVersion="580.1",
        nvmlDeviceGetInforomImageVersion="G520", nvmlDeviceGetEccMode=[1, 1], nvmlDeviceGetMigMode=[0, 0],
        nvmlDeviceGetMaxClockInfo=lambda _, kind: {1: 1980, 2: 3201}[kind], nvmlDeviceGetNvLinkState=link,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert gpu.gpu_facts() == [
        {
            "name": "NVIDIA T", "driver": "580.1", "uuid": "GPU-1", "memory_bytes": 5 << 30, "vbios": "96.00.89",
            "board": "692-2", "firmware": "580.1", "inforom": "G520", "ecc": "on", "mig": "off", "max_sm_clock_mhz": 1980,
            "max_memory_clock_mhz": 3201, "nvlinks": 3,
        }
    ]  # fmt: skip
    assert ("gpu.0.vbios", "96.00.89") in list(flatten({"gpu": gpu.gpu_facts()}))


def test_what_a_board_does_not_support_and_an_old_binding_does_not_know_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = nvml(nvmlDeviceGetVbiosVersion="1", nvmlDeviceGetEccMode=refused, nvmlDeviceGetNvLinkState=refused)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert set(gpu.gpu_facts()[0]) == {"name", "driver", "uuid", "memory_bytes", "vbios"}


SMI = """#!/bin/sh
case "$1" in
  *=name,driver_version*) echo "NVIDIA T, 580.1, GPU-1, 5120"; echo "NVIDIA T, 580.1, GPU-2, 5120" ;;
  *=vbios_version) echo "96.00.89"; echo "96.00.89" ;;
  *=ecc.mode.current) echo "Enabled"; echo "Disabled" ;;
  *=mig.mode.current) echo "[N/A]"; echo "[N/A]" ;;
  *=clocks.max.sm) echo 1980; echo 1980 ;;
  *) echo "Field is not a valid field to query." ; exit 2 ;;
esac
"""


def test_nvidia_smi_is_asked_field_by_field(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setattr(gpu, "_by_nvml", list)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    first, second = gpu.gpu_facts()
    assert first == {
        "name": "NVIDIA T", "driver": "580.1", "uuid": "GPU-1", "memory_bytes": 5 << 30, "vbios": "96.00.89", "ecc": "on",
        "max_sm_clock_mhz": 1980,
    }  # fmt: skip
    assert (second["uuid"], second["ecc"]) == ("GPU-2", "off")
