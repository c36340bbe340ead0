"""Checks that the probe does not wait for the device, does not move the training's tensors, and takes little memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from checks import Check, Figures, Part, Place, expect
from recording import Recording
from together import at_once, recorded, uninstrumented

from parts.digest import prepared, taken

MEMORY_MB_MAX = 64
WAITS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy", "cuStreamSynchronize")


def in_submit(place: Place) -> Figures:
    """Checks that submitting and marking raise nothing under set_sync_debug_mode("error")."""
    import torch
    from detctl_probe.digest import device_digests, n6, pending

    prepared(place.device)
    tensors = [torch.randn(100, 1000, device=place.device), torch.randn(64, 64, device=place.device).t()]
    taken(tensors)  # this compiles, and makes the buffers
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = device_digests.submit(tensors)
        pending.mark()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one in made:
        one.batch.wait()
    expect(
        [one.value() for one in made] == [n6.digest_tensor(t.cpu()) for t in tensors],
        "other digests than the CPU's",
    )
    return {"tensors": len(tensors)}


def profiled(place: Place) -> Figures:
    """Checks that the profiler's trace of submissions and marks has no waiting CUDA call, except the profiler's own."""
    import torch
    from detctl_probe.digest import device_digests, pending

    prepared(place.device)
    tensors = [torch.randn(1 << 16, device=place.device) for _ in range(20)]
    taken(tensors)
    torch.cuda.synchronize()

    def steps() -> None:
        for _ in range(5):
            device_digests.submit(tensors)
            pending.mark()

    idle, calls = waits_of(lambda: None), waits_of(steps)
    waiting = {name: count - idle.get(name, 0) for name, count in calls.items() if count > idle.get(name, 0)}
    expect(not waiting, f"calls that wait: {waiting}", waiting)
    return {"steps": 5}


def waits_of(work: Callable[[], None]) -> dict[str, int]:
    """Counts each waiting call in the trace of `work`."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        work()
    return {event.key: event.count for event in trace.key_averages() if event.key in WAITS}


def streams(place: Place) -> Figures:
    """Checks that tensors which other streams compute late get the digests of their final values."""
    import torch
    from detctl_probe.digest import device_digests, n6, pending

    prepared(place.device)
    found, expected = [], []
    side = [torch.cuda.Stream() for _ in range(3)]
    for number in range(12):
        content = torch.full((5000,), float(number))
        source = content.pin_memory()
        with torch.cuda.stream(side[number % 3]):
            late = torch.zeros(5000, device=place.device)
            torch.cuda._sleep(2_000_000)
            late.copy_(source, non_blocking=True)
            found += device_digests.submit([late])
        expected.append(n6.digest_tensor(content))
        if number % 4 == 3:
            pending.mark()
    pending.mark()
    for one in found:
        one.batch.wait()
    expect([one.value() for one in found] == expected, "a digest was taken before its tensor was computed")
    return {"streams": len(side)}


def waits_in_training(place: Place) -> Figures:
    """Checks that a training under set_sync_debug_mode("error") runs, and that no observer fails."""
    runs = at_once(
        place,
        [
            lambda level=level: recorded(
                place, f"watched-{level}", ["features.py", "watched", place.device], level=level
            )
            for level in ("step", "module")
        ],
    )
    for run in runs:
        expect(not failures(run), f"an observer failed: {failures(run)[:1]}")
    return {run.hello["level"]: len(run.records) for run in runs}


def failures(run: Recording) -> list[str]:
    """Returns the messages of observers that failed."""
    return [str(note["text"]) for note in run.notes if note["kind"] == "observer-failed"]


@cache
def addresses_of(place: Place) -> Mapping[str, dict[str, Any]]:
    """Returns what the training `addresses` printed, by level; `bare` is the uninstrumented run."""
    arguments = ["features.py", "addresses", place.device]

    def one(level: str) -> dict[str, Any]:
        name = f"addresses-{level}"
        text = (
            uninstrumented(place, name, arguments)
            if level == "bare"
            else recorded(place, name, arguments, level=level).output
        )
        found: dict[str, Any] = json.loads(text.splitlines()[-1])
        return found

    levels = ("bare", "step", "module")
    return dict(zip(levels, at_once(place, [lambda level=level: one(level) for level in levels]), strict=True))


def same_addresses(place: Place) -> Figures:
    """Checks that parameters, gradients and outputs have the same addresses as without the probe."""
    found = addresses_of(place)
    for level in ("step", "module"):
        ours, theirs = found[level]["addresses"], found["bare"]["addresses"]
        moved = sum(a != b for a, b in zip(ours, theirs, strict=True))
        expect(not moved, f"{moved} of {len(theirs)} tensors lie elsewhere at level {level}", {"moved": moved})
    return {"tensors": len(found["bare"]["addresses"])}


def memory(place: Place) -> Figures:
    """Returns the size of the probe's own pools, and checks that the training's pool did not grow."""
    found = addresses_of(place)
    own = "0, 0"
    figures: dict[str, Any] = {}
    for level in ("step", "module"):
        pools = found[level]["reserved"]
        theirs = sum(size for pool, size in pools.items() if pool != own)
        grown = pools.get(own, 0) - found["bare"]["reserved"].get(own, 0)
        figures[f"{level}_mb"] = round(theirs / 2**20, 1)
        figures[f"{level}_training_grew_mb"] = round(grown / 2**20, 1)
        expect(theirs + max(0, grown) <= MEMORY_MB_MAX << 20, f"more than {MEMORY_MB_MAX} MB at level {level}", figures)
        expect(
            found[level]["retries"] == found["bare"]["retries"],
            "the allocator had to try again under the probe",
            figures,
        )
    return figures


PART = Part(
    "synchronisation",
    "nothing waits, moves or grows under the probe",
    seconds=60,
    cpu_seconds=150,
    checks=(
        Check("synchronisation.submit", in_submit),
        Check("synchronisation.profiler", profiled),
        Check("synchronisation.streams", streams),
        Check("synchronisation.training", waits_in_training, on_cpu=True),
        Check("synchronisation.addresses", same_addresses),
        Check("synchronisation.memory", memory),
    ),
)
