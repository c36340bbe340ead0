"""Checks the GPU's facts in the manifest: driver, firmware, VBIOS, board, clocks, ECC, MIG, NVLink."""

from __future__ import annotations

from checks import Check, Figures, Part, Place, expect

NEEDED = ("name", "driver", "uuid", "memory_bytes")
MORE = ("vbios", "firmware", "board", "max_sm_clock_mhz", "max_memory_clock_mhz", "ecc", "mig", "nvlinks")


def gpu(place: Place) -> Figures:
    """Returns the facts of each GPU, and lists those that this board or its driver does not report."""
    from detctl_agent.manifest.gpu import gpu_facts

    found = gpu_facts()
    expect(bool(found), "neither NVML nor nvidia-smi reports a GPU")
    missing = [key for key in NEEDED if not found[0].get(key)]
    expect(not missing, f"not reported: {', '.join(missing)}", {"gpus": found})
    untold = [key for key in MORE if found[0].get(key) is None]
    return {"gpus": found, "untold": ", ".join(untold) or "nothing"}


def machine(place: Place) -> Figures:
    """Checks that the CPU's facts can be read without a service."""
    from detctl_agent.manifest.machine import cpu

    model, flags = cpu()
    expect(bool(model), "the processor does not report its model")
    return {"cpu": model, "flags": len(flags)}


PART = Part(
    "manifest",
    "the facts of this machine in the manifest",
    seconds=30,
    cpu_seconds=30,
    checks=(Check("manifest.gpu", gpu), Check("manifest.machine", machine, on_cpu=True)),
)
