"""The probe waits for nobody, moves nobody's tensors and takes little memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from checks import Check, Figures, Part, Place, expect
from recording import Recording
from together import at_once, bare, recorded

from parts.digest import prepared, taken

MEMORY_MB_MAX = 64
WAITS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy", "cuStreamSynchronize")


def in_submit(place: Place) -> Figures:
    """Submitting and marking raise nothing under set_sync_debug_mode("error")."""
    import torch
    from detctl_probe.digest import device_digests, n6, pending

    prepared(place.device)
    tensors = [torch.randn(100, 1000, device=place.device), torch.randn(64, 64, device=place.device).t()]
    taken(tensors)  # compiles, and makes the buffers
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
    """No call that waits, of CUDA's own, in the profiler's trace of submissions and marks, beside those of the profiler itself."""
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
    """How often each call that waits stands in the trace of `work`."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        work()
    return {event.key: event.count for event in trace.key_averages() if event.key in WAITS}


def streams(place: Place) -> Figures:
    """Tensors that other streams compute, late, have the digests of what they compute."""
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
    """A training under set_sync_debug_mode("error") runs, and no observer fails."""
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
    """What observers wrote of themselves when they failed."""
    return [str(note["text"]) for note in run.notes if note["kind"] == "observer-failed"]


@cache
def addresses_of(place: Place) -> Mapping[str, dict[str, Any]]:
    """What the training `addresses` printed, by level; `bare` without the probe."""
    words = ["features.py", "addresses", place.device]

    def one(level: str) -> dict[str, Any]:
        name = f"addresses-{level}"
        text = bare(place, name, words) if level == "bare" else recorded(place, name, words, level=level).output
        found: dict[str, Any] = json.loads(text.splitlines()[-1])
        return found

    levels = ("bare", "step", "module")
    return dict(zip(levels, at_once(place, [lambda level=level: one(level) for level in levels]), strict=True))


def same_addresses(place: Place) -> Figures:
    """Parameters, gradients and outputs lie where they lie without the probe."""
    found = addresses_of(place)
    for level in ("step", "module"):
        ours, theirs = found[level]["addresses"], found["bare"]["addresses"]
        moved = sum(a != b for a, b in zip(ours, theirs, strict=True))
        expect(not moved, f"{moved} of {len(theirs)} tensors lie elsewhere at level {level}", {"moved": moved})
    return {"tensors": len(found["bare"]["addresses"])}


def memory(place: Place) -> Figures:
    """What the probe's own pools hold, and whether the training's pool grew."""
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
