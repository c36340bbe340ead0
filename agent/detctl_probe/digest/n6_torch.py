"""n6.v1 in torch's 64-bit integers, in blocks: for a process that trains without numpy.

Never inside compiled code: `torch.arange(n) * G` in int64 under torch.compile gave wrong values on CPU (torch 2.13).
"""

from __future__ import annotations

import sys
from typing import Any, Tuple

MASK = (1 << 64) - 1
_LOW = 0xFFFFFFFF


def _signed(value: int) -> int:
    value &= MASK
    return value - (1 << 64) if value >> 63 else value


G = _signed(0x9E3779B97F4A7C15)
S0 = _signed(0x243F6A8885A308D3)
KA = 0x9E3779B1
BLOCK = 1 << 16


def sums(plain: Any, first_index: int) -> Tuple[int, int]:
    """(sum a, sum b) modulo 2^64 of a contiguous integer tensor (digest.as_integers); int64 items give two words each."""
    torch = sys.modules["torch"]
    flat = plain.reshape(-1)
    if flat.element_size() == 8:
        flat = flat.view(torch.int32)
    mask = {1: 0xFF, 2: 0xFFFF, 4: _LOW}[flat.element_size()]
    a = b = 0
    with torch.no_grad():
        for start in range(0, flat.numel(), BLOCK):
            x = flat[start : start + BLOCK].to(torch.int64) & mask
            index = torch.arange(len(x), dtype=torch.int64, device=x.device)
            k = index * G + _signed((first_index + start) * G + S0)
            high_k = (k >> 32) & _LOW
            p = ((k & _LOW) ^ x) * (high_k | 1) + k
            high = (p >> 32) & _LOW
            low = (p & _LOW) ^ high
            r = low * KA + (high | (low << 32))
            h = (r >> 32) & _LOW
            a += int((r ^ h).sum())
            b += int(((r & _LOW) * h).sum())
    return a & MASK, b & MASK
