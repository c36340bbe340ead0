"""docs/digest.md lists test vectors of the digest: each is what the reference computes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from detctl_probe.digest import n6, n6_torch

PAGE = Path(__file__).resolve().parents[3] / "docs" / "digest.md"
ROW = re.compile(r"^\| (\w+) \| (zeros|arange)\((\d+)\) \| ([\d^]+) \| `(\w{16})` \| `(\w{16})` \|$", re.MULTILINE)
VECTORS = ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_the_page_has_vectors() -> None:
    assert len(VECTORS) == 8


@pytest.mark.parametrize(("dtype", "kind", "length", "first", "a", "b"), VECTORS)
def test_a_documented_vector(dtype: str, kind: str, length: str, first: str, a: str, b: str) -> None:
    values = torch.zeros(int(length)) if kind == "zeros" else torch.arange(int(length))
    base, _, power = first.partition("^")
    start = int(base) ** int(power or 1)
    sums = n6_torch.sums(n6.as_integers(values.to(getattr(torch, dtype))), start)
    assert sums == (int(a, 16), int(b, 16))
