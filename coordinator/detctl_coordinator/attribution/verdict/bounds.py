"""The statistical meaning of identical twins: k runs that agree bound the divergence rate (rule of three, exact form)."""

from __future__ import annotations

CONFIDENCE = 0.95


def divergence_rate_bound(twins: int) -> float:
    """Returns the upper bound of the rate at which runs diverge (0 to 1, 95 % confidence) for `twins` >= 1 identical runs: 0.63
    for 3."""
    return float(1 - (1 - CONFIDENCE) ** (1 / twins))


def format_bound(twins: int) -> str:
    """Returns the bound as a sentence, with the figures of docs/causes.md."""
    rate = divergence_rate_bound(twins) * 100
    shown = f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"
    return (
        f"With {twins} identical twins, the true divergence rate is below {shown} % (95 % confidence). "
        "More twins tighten this bound."
    )
