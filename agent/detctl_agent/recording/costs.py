"""One line for people about the probe's own cost in a run (`share` of the seal, see detctl_probe/recording/costs.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STAGES_SHOWN = 4
SHARE_SHOWN_MIN = 0.0005


def format_cost(seal: Mapping[str, Any]) -> str:
    """`probe 1.8 % of step time: forward 0.9 %, update 0.6 %`; empty where the seal has no share."""
    share = seal.get("share")
    total = share.get("total") if isinstance(share, Mapping) else None
    if not isinstance(share, Mapping) or not isinstance(total, (int, float)) or not total:
        return ""
    by_stage = share.get("by_stage")
    dearest = (
        sorted(by_stage.items(), key=lambda item: -item[1])[:STAGES_SHOWN] if isinstance(by_stage, Mapping) else []
    )
    parts = [f"{stage} {percent(part)}" for stage, part in dearest if part >= SHARE_SHOWN_MIN]
    budget = seal.get("budget")
    more = ""
    if isinstance(budget, Mapping) and isinstance(budget.get("measured"), Mapping):
        held = budget["measured"]
        more = f"; {percent(held['share'])} from step {held['from']} on, under a budget of {percent(budget['share'])}"
        more += ", which cannot be kept" if budget.get("kept") is False else ""
    return f"probe {percent(total)} of step time{': ' if parts else ''}{', '.join(parts)}{more}"


def percent(share: float) -> str:
    """`1.8 %`"""
    return f"{share * 100:.1f} %"
