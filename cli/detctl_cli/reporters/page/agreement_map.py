"""Lays out the map of stages and steps, in pixels, and the estimated difference of the loss. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LABELS_PX, WIDTH_PX, ROW_PX = 90, 1000, 20
CURVE_TOP_PX, CURVE_BOTTOM_PX = 14, 130
TICKS = 8


def map_layout(one: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the map in pixels: a row for each stage, a cell for adjacent steps with the same result, ticks, and the curve below."""
    stages = one.get("stages") or {}
    end = max((last for cells in stages.values() for _, last, _ in cells), default=0) + 1
    step_px = (WIDTH_PX - LABELS_PX) / end
    gap = 1 if step_px > 4 else 0
    rows = [
        {
            "stage": stage,
            "y": at * ROW_PX,
            "cells": [
                {
                    "first": first,
                    "last": last,
                    "word": word,
                    "x": round(LABELS_PX + first * step_px, 1),
                    "width": round(max((last - first + 1) * step_px - gap, 1), 1),
                }
                for first, last, word in cells
            ],
        }
        for at, (stage, cells) in enumerate(stages.items())
    ]
    every = max(1, -(-end // TICKS))
    ticks = [{"step": step, "x": round(LABELS_PX + (step + 0.5) * step_px, 1)} for step in range(0, end, every)]
    return {
        "runs": one.get("runs") or [],
        "rows": rows,
        "ticks": ticks,
        "width": WIDTH_PX,
        "height": len(rows) * ROW_PX + 20,
        "curve": _curve(one.get("loss") or [], step_px),
    }


def _curve(sizes: Sequence[Any], step_px: float) -> dict[str, Any] | None:
    """Returns the curve on a logarithmic scale. Identical steps lie on its lowest line. None if no difference is known."""
    known = [(step, size) for step, size in sizes if size is not None]
    above = [size for _, size in known if size > 0]
    if not above:
        return None
    low, high = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
    high = max(high, low + 1)

    def y(size: float) -> float:
        share = (math.log10(size) - low) / (high - low) if size > 0 else 0.0
        return round(CURVE_BOTTOM_PX - share * (CURVE_BOTTOM_PX - CURVE_TOP_PX), 1)

    dots = [
        {"x": round(LABELS_PX + (step + 0.5) * step_px, 1), "y": y(size), "step": step, "words": f"{size:.2g}"}
        for step, size in known
    ]
    return {
        "dots": dots,
        "points": " ".join(f"{dot['x']},{dot['y']}" for dot in dots),
        "lines": [{"y": y(10.0**power), "words": f"1e{power}"} for power in _powers(low, high)],
    }


def _powers(low: int, high: int) -> Iterable[int]:
    return range(low, high + 1, max(1, (high - low) // 4))
