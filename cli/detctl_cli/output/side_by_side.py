"""How many runs an agent trains at a time, as JSON values and as one line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from detctl_cli.output.sizes import size_text

if TYPE_CHECKING:
    from detctl_proto.v1.agents_pb2 import SideBySide

_WHY = {
    "cores": "one keeps {used} of {cores} processors busy",
    "memory": "one takes {memory}",
    "gpu": "they use a GPU",
    "ports": "one listens on a TCP port",
    "ranks": "one has several ranks",
    "writes": "one writes to a file outside of its own folders",
    "copies": "the copies of the folder for all of them have the same path",
    "omp-dynamic": "OMP_DYNAMIC makes their number of threads depend on the load",
}


def least(measured: Collection[SideBySide]) -> dict[str, Any] | None:
    """Returns the smallest of the measured numbers of runs, with its reason; None: nothing was measured."""
    if not measured:
        return None
    found = min(measured, key=lambda one: one.runs)
    return {
        "runs": found.runs,
        "reason": found.reason,
        "cores_used": round(found.cores_used, 2),
        "cores": found.cores,
        "memory_bytes": found.memory_bytes,
    }


def why_side_by_side(found: Mapping[str, Any] | None) -> str:
    """Returns one line about how many runs train at a time, and why; empty if that was not measured."""
    if not found:
        return ""
    used, memory = f"{found['cores_used']:.1f}", size_text(found["memory_bytes"])
    if found["reason"] == "fits":
        return (
            f"up to {found['runs']} runs train side by side after the first, because one keeps {used} of {found['cores']}"
            f" processors busy and takes {memory}; --parallel 1 trains them one after another"
        )
    why = _WHY.get(found["reason"], found["reason"]).format(used=used, cores=found["cores"], memory=memory)
    return f"the runs train one after another, because {why}"
