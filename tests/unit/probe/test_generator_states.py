"""States of generators as bytes bring back what is drawn."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
import torch
from detctl_probe.intervene.randomness.generator_states import restore, states


def draws() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.randn()),
        float(torch.rand(1)),
        float(torch.randn(1)),
    ]


def test_what_is_restored_draws_the_same() -> None:
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    random.gauss(0, 1), np.random.randn()  # one of a pair waits in each
    kept = states()
    first = draws()
    assert draws() != first
    for name, content in kept.items():
        restore(name, content)
    assert draws() == first and set(kept) == {"random", "numpy", "torch"}


def test_what_is_no_state_is_refused() -> None:
    before = states()
    for name in ("random", "numpy"):
        with pytest.raises(struct.error):
            restore(name, b"short")
    with pytest.raises((ValueError, RuntimeError)):
        restore("torch", b"short")
    with pytest.raises(ValueError, match="unknown generator"):
        restore("jax", b"")
    assert states() == before
