"""Computes exactly how two leaves differ. Tensors are read in blocks, so that a large one needs no second copy."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Tuple

BLOCK = 1 << 22
_BITS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


def tensor_difference(a: Any, b: Any) -> Optional[Dict[str, Any]]:
    """None if bits, dtype and shape are the same. Keys: kind (`dtype`, `shape` or `content`), dtype, shape; for dtype and shape
    the other side's, and for dtype `rounded`: whether one side is the other, cast.

    For content: elements, differing, first (index of the first that differs), relative (L2 of the difference over L2 of the larger side),
    max_abs, non_finite (differing elements of which one is NaN or infinite), and for floating point max_ulp. Numbers are over
    elements that are finite on both sides; null if there is none, or if torch cannot compute in that dtype.
    """
    found: Dict[str, Any] = {"dtype": _dtype(a), "shape": list(a.shape)}
    if a.dtype != b.dtype or a.shape != b.shape:
        kind = "shape" if a.shape != b.shape else "dtype"
        found.update(kind=kind, other_dtype=_dtype(b), other_shape=list(b.shape))
        if kind == "dtype":
            found["rounded"] = _rounded(a, b)
        return found
    left, right = _flat(a), _flat(b)
    blocks = _differing_blocks(left, right)
    if not blocks:
        return None
    per_element = 2 if a.dtype.is_complex else 1
    count, first = _count(left, right, blocks, per_element)
    found.update(kind="content", elements=left.numel() // per_element, differing=count, first=_index(first, a.shape))
    found.update(relative=None, max_abs=None, non_finite=0)
    if left.dtype.is_floating_point:
        found["max_ulp"] = None
    try:
        found.update(_numbers(left, right, blocks))
    except (RuntimeError, NotImplementedError):
        pass  # a dtype that torch stores and cannot convert: it differs all the same
    return found


def is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def plain_equal(a: Any, b: Any) -> bool:
    """Whether two values other than tensors are equal; NaN equals NaN, 1 is not True, 0.0 is not -0.0."""
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if not a and not b and isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return True  # formats do not keep which of the two it was
    if isinstance(a, dict) and isinstance(b, dict):
        return a == b  # only empty ones are leaves
    return type(a) is type(b) and bool(a == b)


def _differing_blocks(left: Any, right: Any) -> List[int]:
    """Starts of the blocks that are not the same bit for bit."""
    import torch

    starts = range(0, left.numel(), BLOCK)
    return [s for s in starts if not torch.equal(_bits(left[s : s + BLOCK]), _bits(right[s : s + BLOCK]))]


def _count(left: Any, right: Any, blocks: List[int], per_element: int) -> Tuple[int, int]:
    """(how many elements differ, the number of the first)."""
    count, first = 0, -1
    for start in blocks:
        changed = _bits(left[start : start + BLOCK]) != _bits(right[start : start + BLOCK])
        changed = changed.view(-1, per_element).any(1)
        count += int(changed.sum())
        if first < 0:
            first = start // per_element + int(changed.long().argmax())
    return count, first


def _numbers(left: Any, right: Any, blocks: List[int]) -> Dict[str, Any]:
    floating = left.dtype.is_floating_point
    scale = max(_largest(left), _largest(right)) if left.dtype.itemsize == 8 else 1.0
    scale = scale or 1.0
    norm = max(_norm(left, scale), _norm(right, scale))
    squares, most, ulp, non_finite, finite = 0.0, 0.0, 0, 0, 0
    for start in blocks:
        x, y = left[start : start + BLOCK], right[start : start + BLOCK]
        changed = _bits(x) != _bits(y)
        x, y = x[changed], y[changed]
        p, q = x.double(), y.double()
        both = p.isfinite() & q.isfinite()
        non_finite += int((~both).sum())
        finite += int(both.sum())
        if not bool(both.any()):
            continue
        gap = (p[both] - q[both]).abs()
        squares += float((p[both] / scale - q[both] / scale).square().sum())
        most = max(most, float(gap.max()))
        if floating:
            ulp = max(ulp, _ulp(x[both], y[both]))
    found: Dict[str, Any] = {"non_finite": non_finite}
    if finite:
        found["max_abs"] = most if math.isfinite(most) else None
        found["relative"] = math.sqrt(squares) / norm if norm else 0.0
        if floating:
            found["max_ulp"] = ulp
    return found


def _largest(flat: Any) -> float:
    """The largest finite magnitude, so that squares of large doubles do not overflow."""
    return max((float(_finite(flat[s : s + BLOCK]).abs().max()) for s in range(0, flat.numel(), BLOCK)), default=0.0)


def _norm(flat: Any, scale: float) -> float:
    total = sum(float((_finite(flat[s : s + BLOCK]) / scale).square().sum()) for s in range(0, flat.numel(), BLOCK))
    return math.sqrt(total)


def _finite(block: Any) -> Any:
    return block.double().nan_to_num(0.0, 0.0, 0.0)


def _flat(tensor: Any) -> Any:
    import torch

    plain = tensor.detach()
    if plain.layout is not torch.strided:
        plain = plain.to_dense()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    return plain.resolve_neg().contiguous().reshape(-1)


def _bits(block: Any) -> Any:
    import torch

    return block.view(getattr(torch, _BITS[block.element_size()]))


def _ulp(x: Any, y: Any) -> int:
    """The largest distance in units of the last place: steps from number to number, through zero where the signs differ."""
    import torch

    p, q = (
        one.view(getattr(torch, {1: "int8", 2: "int16", 4: "int32", 8: "int64"}[x.element_size()])) for one in (x, y)
    )
    mask = (1 << (8 * x.element_size() - 1)) - 1
    same = (p < 0) == (q < 0)
    p, q = p.long() & mask, q.long() & mask
    most = int((p[same] - q[same]).abs().max()) if bool(same.any()) else 0
    if not bool(same.all()):
        p, q = p[~same], q[~same]
        at = int((p.double() + q.double()).argmax())  # the sum of two magnitudes of doubles is beyond 64 bits
        most = max(most, int(p[at]) + int(q[at]))
    return most


def _rounded(a: Any, b: Any) -> bool:
    """Whether one is the other cast to its dtype, bit for bit."""
    try:
        return _same(a.detach().to(b.dtype), b) or _same(b.detach().to(a.dtype), a)
    except (RuntimeError, NotImplementedError, KeyError):
        return False


def _same(a: Any, b: Any) -> bool:
    return not _differing_blocks(_flat(a), _flat(b))


def _index(number: int, shape: Any) -> List[int]:
    index: List[int] = []
    for length in reversed(list(shape)):
        number, rest = divmod(number, length)
        index.append(rest)
    return index[::-1]


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).replace("torch.", "")
