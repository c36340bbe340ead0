"""How two leaves differ, exactly: both are there. Tensors are read in blocks, so that a large one costs no second copy of itself."""

from __future__ import annotations

import math
from typing import Any, Dict, Optional

BLOCK = 1 << 22
_BITS = {1: "int8", 2: "int16", 4: "int32", 8: "int64"}


def tensor_difference(a: Any, b: Any) -> Optional[Dict[str, Any]]:
    """None where bits, dtype and shape are the same. Keys: kind (dtype, shape or content), and for content `elements`, `differing`,
    and for floating point `relative` (L2 of the difference over L2 of the larger side), `max_abs`, `max_ulp` (none across NaN)."""
    found: Dict[str, Any] = {"dtype": _dtype(a), "shape": list(a.shape)}
    if a.dtype != b.dtype or a.shape != b.shape:
        kind = "shape" if a.shape != b.shape else "dtype"
        return {**found, "kind": kind, "other_dtype": _dtype(b), "other_shape": list(b.shape)}
    differing = 0
    squares, ours, theirs, most, ulp = 0.0, 0.0, 0.0, 0.0, 0
    left, right = _flat(a), _flat(b)
    floating = left.dtype.is_floating_point
    for start in range(0, left.numel(), BLOCK):
        x, y = left[start : start + BLOCK], right[start : start + BLOCK]
        if floating:
            ours, theirs = ours + _squares(x), theirs + _squares(y)
        changed = _bits(x) != _bits(y)
        count = int(changed.sum())
        differing += count
        if count and floating:
            p, q = x[changed], y[changed]
            gap = (p.double() - q.double()).abs()
            squares += float((gap * gap).sum())
            most = max(most, float(gap.max()))
            ulp = max(ulp, int((_ordered(p) - _ordered(q)).abs().max()))
    if not differing:
        return None
    found = {**found, "kind": "content", "elements": left.numel(), "differing": differing}
    if floating:
        norm = math.sqrt(max(ours, theirs))
        known = math.isfinite(squares) and math.isfinite(norm)
        found["relative"] = (math.sqrt(squares) / norm if norm else None) if known else None
        found["max_abs"] = most if math.isfinite(most) else None
        found["max_ulp"] = ulp if known else None
    return found


def is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def plain_equal(a: Any, b: Any) -> bool:
    """Of values that are no tensors; NaN equals NaN, 1 is not True."""
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return type(a) is type(b) and bool(a == b)


def _flat(tensor: Any) -> Any:
    import torch

    plain = tensor.detach()
    if plain.layout is not torch.strided:
        plain = plain.to_dense()
    if plain.is_quantized:
        plain = plain.int_repr()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    return plain.resolve_neg().contiguous().reshape(-1)


def _bits(block: Any) -> Any:
    import torch

    return block.view(getattr(torch, _BITS[block.element_size()]))


def _squares(block: Any) -> float:
    wide = block.double()
    return float((wide * wide).sum())


def _ordered(block: Any) -> Any:
    """Integers in the order of the numbers, neighbours one apart: the distance in units of the last place."""
    bits = _bits(block).long()
    low = -(1 << (8 * block.element_size() - 1)) if block.element_size() < 8 else -(1 << 63)
    return bits.where(bits >= 0, low - bits)


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).replace("torch.", "")
