"""What the manifest says of the GPU: driver, firmware, VBIOS, board, clocks, ECC, MIG, NVLink."""

from __future__ import annotations

from checks import Check, Figures, Part, Place, expect

NEEDED = ("name", "driver", "uuid", "memory_bytes")
MORE = ("vbios", "firmware", "board", "max_sm_clock_mhz", "max_memory_clock_mhz", "ecc", "mig", "nvlinks")


def gpu(place: Place) -> Figures:
    """Facts of each GPU; those that this board or its driver does not tell are listed."""
    from detctl_agent.manifest.gpu import gpu_facts

    found = gpu_facts()
    expect(bool(found), "neither NVML nor nvidia-smi tells anything of a GPU")
    missing = [key for key in NEEDED if not found[0].get(key)]
    expect(not missing, f"not told: {', '.join(missing)}", {"gpus": found})
    untold = [key for key in MORE if found[0].get(key) is None]
    return {"gpus": found, "untold": ", ".join(untold) or "nothing"}


def machine(place: Place) -> Figures:
    """The CPU's facts, and that they can be read without a service."""
    from detctl_agent.manifest.machine import cpu

    model, flags = cpu()
    expect(bool(model), "the processor tells nothing of itself")
    return {"cpu": model, "flags": len(flags)}


PART = Part(
    "manifest",
    "what the manifest says of this machine",
    seconds=30,
    cpu_seconds=30,
    checks=(Check("manifest.gpu", gpu), Check("manifest.machine", machine, on_cpu=True)),
)
