"""What clean twins prove: k runs that agree bound the rate of divergence (rule of three, exact form)."""

from __future__ import annotations

CONFIDENCE = 0.95


def divergence_rate_bound(twins: int) -> float:
    """Upper bound of the rate at which a run diverges, at 95 % confidence, after `twins` >= 1 clean ones: 0.63 for 3."""
    return float(1 - (1 - CONFIDENCE) ** (1 / twins))


def bound_words(twins: int) -> str:
    """One line; figures as in docs/causes.md."""
    rate = divergence_rate_bound(twins) * 100
    shown = f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"
    return (
        f"{twins} clean twins bound the rate of divergence at {shown} % (95 % confidence); more twins bound it closer"
    )
