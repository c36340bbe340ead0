"""Operations that draw random numbers. With equal inputs they give other results only if their generator is in another state."""

from __future__ import annotations

# Names without namespace and overload; an in-place variant ends in `_`.
DRAWING = frozenset((
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "normal", "uniform", "random",
    "exponential", "geometric", "cauchy", "log_normal", "multinomial", "poisson", "binomial", "_standard_gamma", "_sample_dirichlet",
    "normal_functional", "dropout", "native_dropout", "_fused_dropout", "alpha_dropout", "feature_dropout",
    "feature_alpha_dropout", "rrelu", "rrelu_with_noise", "fractional_max_pool2d", "fractional_max_pool3d",
))  # fmt: skip


def draws(op: str | None) -> bool:
    """Returns whether an operation (`aten.randn.generator`) draws random numbers."""
    parts = (op or "").split(".")
    name = parts[1] if len(parts) > 1 else parts[0]
    return name in DRAWING or name.rstrip("_") in DRAWING
