"""DTensor (FSDP2, tensor parallel): what this rank holds of a tensor, at its place in the whole.

n6 is a sum over the logical index, so a shard is digested at its indices in the whole tensor, and the digests of all ranks add
up to that of the whole. Evidence `shard` tells the reader how: {"counts": true} adds up, {"counts": false} is a replica that another
rank counts, and {"placements": "…"} is the local content alone, which nobody can add up: strided shards, and several that are not
dimension 0 and another.
"""

from __future__ import annotations

from math import prod
from typing import Any, Dict, NamedTuple, Optional, Tuple

from detctl_probe.digest.n6 import NoDigestError


class Shard(NamedTuple):
    """local: the dense tensor held here, which is `runs` runs of equal length in the whole; first_index: of the first run, and stride:
    from one run to the next, in words; shape: of the whole, or the local one where `evidence` says so."""

    local: Any
    first_index: int
    runs: int
    stride: int
    shape: Tuple[int, ...]
    evidence: Dict[str, Any]


def shard_of(tensor: Any) -> Optional[Shard]:
    """None where the tensor is no DTensor. Raises NoDigestError for partial sums, which have no value before they are reduced."""
    if type(tensor).__name__ != "DTensor" or not hasattr(tensor, "_local_tensor"):
        return None
    local = tensor._local_tensor.detach()
    mesh, placements = tensor._spec.mesh, tensor._spec.placements
    if any(placement.is_partial() for placement in placements):
        raise NoDigestError("a partial sum of several ranks")
    shape = tuple(int(size) for size in tensor.shape)
    coordinate = mesh.get_coordinate()
    plain = [type(placement).__name__ in ("Shard", "Replicate") for placement in placements]
    sharded = {n: placement.dim for n, placement in enumerate(placements) if not placement.is_replicate()}
    dims = sorted(sharded.values())
    # Runs have one stride where nothing between the outermost dimension and the innermost shard is cut.
    if coordinate is None or not all(plain) or len(set(dims)) < len(dims) or any(dim != 0 for dim in dims[:-1]):
        told = {"shard": {"placements": ", ".join(str(placement) for placement in placements)}}
        return Shard(local, 0, 1, 0, tuple(int(size) for size in local.shape), told)
    offset = 0
    for n, dim in sharded.items():  # torch.chunk's shares: all of one size, the last ones short or empty
        share = -(-shape[dim] // mesh.size(n))
        offset += min(shape[dim], coordinate[n] * share) * prod(shape[dim + 1 :])
    inner = dims[-1] if dims else 0
    counts = all(coordinate[n] == 0 for n in range(len(placements)) if n not in sharded)
    words = _words(local)
    runs = prod(int(size) for size in local.shape[:inner])
    return Shard(local, offset * words, runs, prod(shape[inner:]) * words, shape, {"shard": {"counts": counts}})


def _words(local: Any) -> int:
    """32-bit words an element, as digest.py counts them."""
    size = int(local.element_size())
    return 2 * max(1, size // 8) if local.is_complex() else max(1, size // 4)
