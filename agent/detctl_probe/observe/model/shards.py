"""DTensor (FSDP2, tensor parallel): what this rank holds of a tensor, at its place in the whole.

n6 is a sum over the logical index, so a shard is digested at its indices in the whole tensor, and the digests of all ranks add
up to that of the whole. Evidence `shard` has one of three forms. {"counts": true}: this digest adds up. {"counts": false}: this is a
replica, which another rank counts. {"placements": "…"}: this is the local content alone, which cannot be added up (strided shards, and
combinations of shards other than dimension 0 and one more).
"""

from __future__ import annotations

from math import prod
from typing import Any, Dict, NamedTuple, Optional, Tuple

from detctl_probe.digest.n6 import NoDigestError


class Shard(NamedTuple):
    """local: the dense tensor held here, which is `runs` runs of equal length in the whole; first_index: of the first run, and stride:
    from one run to the next, in words; shape: of the whole, or of the local tensor if `evidence` holds placements."""

    local: Any
    first_index: int
    runs: int
    stride: int
    shape: Tuple[int, ...]
    evidence: Dict[str, Any]


def shard_of(tensor: Any) -> Optional[Shard]:
    """Returns None if the tensor is not a DTensor. Raises NoDigestError for partial sums, which have no value before they are reduced."""
    if type(tensor).__name__ != "DTensor" or not hasattr(tensor, "_local_tensor"):
        return None
    local = tensor._local_tensor.detach()
    mesh, placements = tensor._spec.mesh, tensor._spec.placements
    if any(placement.is_partial() for placement in placements):
        raise NoDigestError("it is a partial sum of several ranks")
    shape = tuple(int(size) for size in tensor.shape)
    coordinate = mesh.get_coordinate()
    plain = [type(placement).__name__ in ("Shard", "Replicate") for placement in placements]
    sharded = {n: placement.dim for n, placement in enumerate(placements) if not placement.is_replicate()}
    dims = sorted(sharded.values())
    # Runs have one stride if no dimension between the outermost and that of the innermost shard is cut.
    if coordinate is None or not all(plain) or len(set(dims)) < len(dims) or any(dim != 0 for dim in dims[:-1]):
        evidence = {"shard": {"placements": ", ".join(str(placement) for placement in placements)}}
        return Shard(local, 0, 1, 0, tuple(int(size) for size in local.shape), evidence)
    offset = 0
    for n, dim in sharded.items():  # torch.chunk makes parts of one size, the last ones shorter or empty
        share = -(-shape[dim] // mesh.size(n))
        offset += min(shape[dim], coordinate[n] * share) * prod(shape[dim + 1 :])
    inner = dims[-1] if dims else 0
    counts = all(coordinate[n] == 0 for n in range(len(placements)) if n not in sharded)
    word_count = _word_count(local)
    runs = prod(int(size) for size in local.shape[:inner])
    return Shard(
        local, offset * word_count, runs, prod(shape[inner:]) * word_count, shape, {"shard": {"counts": counts}}
    )


def _word_count(local: Any) -> int:
    """Number of 32-bit words in one element, as n6 counts them."""
    size = int(local.element_size())
    return 2 * max(1, size // 8) if local.is_complex() else max(1, size // 4)
