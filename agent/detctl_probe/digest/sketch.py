"""The sketch: 38 doubles from which the size of a difference between two floating-point values can be estimated.

    0 count of NaN   1 count of Inf   2 min   3 max   4 sum   5 L2 norm   6 to 37 signed buckets y

Everything but the counts is over the finite elements, in fp64; an empty value has zeros. For the element x at logical row-major index
i, with c = i >> 16, j = i & 65535 and sm the finaliser of splitmix64:

    h = sm(c*G + S0)    t = sm(j*K + T0)    bucket = ((j ^ j>>5 ^ (j>>10 & 3)) & 31) ^ (h>>32 & 31)
    y[bucket] += -x where the top bits of h and t differ, else x

||a - b|| is about ||y_a - y_b|| (12 % rms). A sketch is evidence: it is never compared for equality.
"""

from __future__ import annotations

import math
import sys
from typing import Any, List, Sequence, Tuple

WIDTH = 32
DOUBLES = 6 + WIDTH
MASK = (1 << 64) - 1
G = 0x9E3779B97F4A7C15
S0 = 0x243F6A8885A308D3
K = 0xD6E8FEB86659FD93
T0 = 0x13198A2E03707344
BLOCK = 1 << 16


def mix(z: int) -> int:
    """The finaliser of splitmix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def sketch_values(values: Sequence[float]) -> Tuple[float, ...]:
    """38 doubles over a flat sequence of floats, in plain Python: the definition to the letter."""
    buckets = [0.0] * WIDTH
    nan = inf = 0
    finite: List[float] = []
    for i, x in enumerate(values):
        if math.isnan(x):
            nan += 1
        elif math.isinf(x):
            inf += 1
        else:
            finite.append(x)
            c, j = i >> 16, i & 65535
            h, t = mix((c * G + S0) & MASK), mix((j * K + T0) & MASK)
            bucket = ((j ^ (j >> 5) ^ ((j >> 10) & 3)) & 31) ^ ((h >> 32) & 31)
            buckets[bucket] += -x if (h ^ t) >> 63 else x
    if not finite:
        return (float(nan), float(inf)) + (0.0,) * (DOUBLES - 2)
    norm = math.sqrt(math.fsum(x * x for x in finite))
    return (float(nan), float(inf), min(finite), max(finite), math.fsum(finite), norm, *buckets)


def sketch_array(flat: Any) -> Tuple[float, ...]:
    """38 doubles over a flat numpy array of float64."""
    np = sys.modules["numpy"]
    nan = int(np.isnan(flat).sum())
    inf = int(np.isinf(flat).sum())
    if nan or inf:
        finite = np.isfinite(flat)
        clean = np.where(finite, flat, 0.0)
        chosen = flat[finite]
    else:
        clean = chosen = flat
    if not chosen.size:
        return (float(nan), float(inf)) + (0.0,) * (DOUBLES - 2)
    buckets = np.zeros(WIDTH)
    places, negative = _low_half(np, min(BLOCK, clean.size))
    for c, start in enumerate(range(0, clean.size, BLOCK)):
        block = clean[start : start + BLOCK]
        h = mix((c * G + S0) & MASK)
        signed = np.where(negative[: block.size] ^ bool(h >> 63), -block, block)
        buckets += np.bincount(places[: block.size] ^ ((h >> 32) & 31), weights=signed, minlength=WIDTH)
    norm = float(np.sqrt(np.square(chosen).sum()))
    head = (float(nan), float(inf), float(chosen.min()), float(chosen.max()), float(chosen.sum()), norm)
    return head + tuple(float(y) for y in buckets)


def sketch_tensor(tensor: Any) -> Tuple[float, ...]:
    """38 doubles over a dense floating or complex torch tensor (complex: real and imaginary parts in turn)."""
    torch = sys.modules["torch"]
    plain = tensor.detach()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    flat = plain.to(device="cpu", dtype=torch.float64).reshape(-1)
    if "numpy" in sys.modules and flat.numel() > 64:
        try:
            return sketch_array(flat.numpy())
        except RuntimeError:  # torch was built against another numpy
            pass
    return sketch_values(flat.tolist())


def _low_half(np: Any, count: int) -> Tuple[Any, Any]:
    """For j = 0 to count - 1: the bucket before the high half's turn, and whether the top bit of t is set."""
    j = np.arange(count, dtype=np.uint64)
    z = j * np.uint64(K) + np.uint64(T0)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z ^= z >> np.uint64(31)
    places = ((j ^ (j >> np.uint64(5)) ^ ((j >> np.uint64(10)) & np.uint64(3))) & np.uint64(31)).astype(np.int64)
    return places, (z >> np.uint64(63)).astype(bool)
