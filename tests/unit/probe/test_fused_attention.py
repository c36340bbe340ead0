"""`deterministic=on` and fused attention: `warn_only` is off while its kernels are chosen and run backward, and nowhere else.

On the CPU the kernel is another one, and chosen and differentiated in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from detctl_probe.intervene.numerics.fused_attention import FusedAttention
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode


@pytest.fixture
def attention(monkeypatch: pytest.MonkeyPatch) -> Iterator[FusedAttention]:
    monkeypatch.setattr(functional, "scaled_dot_product_attention", functional.scaled_dot_product_attention)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield FusedAttention(torch)
    torch.use_deterministic_algorithms(False)


class Strictness(TorchDispatchMode):
    """Whether warn_only is off, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.strict: dict[str, bool] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        deterministic, lenient = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        self.strict[str(func)] = deterministic and not lenient
        return func(*args, **(kwargs or {}))


def trained(dimension: int) -> dict[str, bool]:
    q, k, v = (torch.randn(2, 3, 16, dimension, requires_grad=True) for _ in range(3))
    with Strictness() as seen:
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        (out.transpose(1, 2) * 2.0).sum().backward()
    return seen.strict


@pytest.mark.parametrize("dimension", [8, 7])  # 7: some kernels pad it, and slice what comes out
def test_only_attention_runs_strictly(attention: FusedAttention, dimension: int) -> None:
    strict = trained(dimension)
    fused = {name for name in strict if "attention" in name}
    assert len(fused) == 2, strict
    assert {name for name, value in strict.items() if value} >= fused
    assert not strict["aten.mul.Tensor"] and not strict["aten.sum.default"]
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert ["1 times in its deterministic form" in line for line in attention.report()] == [True]


def test_a_kernel_without_a_deterministic_form_runs_as_it_is(
    attention: FusedAttention, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refuses(*args: Any, **_: Any) -> torch.Tensor:
        calls.append(torch.is_deterministic_algorithms_warn_only_enabled())
        if not calls[-1]:
            raise RuntimeError("does not have a deterministic implementation")
        return torch.ones(1)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", refuses)
    again = FusedAttention(torch)
    assert functional.scaled_dot_product_attention(torch.ones(1)).item() == 1.0
    assert calls == [False, True]
    assert again.report() == ["attention ran 1 times without a deterministic form"]


def test_a_program_that_is_strict_or_not_deterministic_stays_so(attention: FusedAttention) -> None:
    torch.use_deterministic_algorithms(False)
    assert not any(trained(8).values())
    assert not torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert all(trained(8).values())
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
