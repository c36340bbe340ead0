"""Describes what recording a run cost, from the seals of its ranks, for `detctl show RUN`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detctl_cli.output.clean import clean


def cost_lines(run: Mapping[str, Any]) -> Iterator[str]:
    """Yields one line for each rank whose seal has costs, with the time of its DataLoader workers."""
    seals = run.get("seals")
    for rank, seal in seals.items() if isinstance(seals, Mapping) else ():
        detail = seal.get("detail") if isinstance(seal, Mapping) else None
        share = detail.get("share") if isinstance(detail, Mapping) else None
        if not isinstance(detail, Mapping) or not isinstance(share, Mapping) or not _number(share.get("total")):
            continue
        parts = ", ".join(f"{clean(stage)} {_percent(part)}" for stage, part in _most_expensive(share.get("by_stage")))
        line = f"rank {clean(rank)}: {_percent(share['total'])} of step time{': ' if parts else ''}{parts}"
        workers = sum(seconds for _, seconds in _most_expensive(detail.get("worker_cost_by_stage"), least=0.0))
        if workers:
            line += f"; DataLoader workers {workers:.1f} s in addition"
        budget = detail.get("budget")
        if isinstance(budget, Mapping) and _number(budget.get("share")):
            held = budget.get("measured")
            if isinstance(held, Mapping) and _number(held.get("share")):
                line += f"; {_percent(held['share'])} from step {clean(held.get('from'))} on"
            line += f", under a budget of {_percent(budget['share'])}"
            line += ", which could not be met" if budget.get("kept") is False else ""
        yield line


def _most_expensive(costs: object, least: float = 0.0005) -> list[tuple[str, float]]:
    rows = [(str(k), float(v)) for k, v in costs.items() if _number(v)] if isinstance(costs, Mapping) else []
    return sorted((row for row in rows if row[1] >= least), key=lambda row: -row[1])


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
