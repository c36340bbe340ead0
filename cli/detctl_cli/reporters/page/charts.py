"""Draws the losses of all runs and their differences with Vega-Lite, from the optional package vl-convert-python.

A page holds each chart twice: as SVG, for readers that run no script, and as a specification that the inlined Vega turns into a chart with
exact values under the pointer. Vega, Vega-Lite and Vega-Embed (BSD-3-Clause) come from vl-convert; expressions are interpreted, so that
the policy of the page needs no `unsafe-eval`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

VEGA_LITE = "6.4"
WIDTH_PX = 860
POINTS_SHOWN_MAX = 64  # a longer curve has no markers
# Okabe and Ito: distinguishable with any colour vision
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d1f")
DASHES: tuple[list[int], ...] = (
    [1, 0],
    [7, 4],
    [2, 3],
    [10, 3, 2, 3],
    [12, 5],
    [4, 2, 1, 2, 1, 2],
    [1, 5],
    [14, 3, 4, 3],
)
SHAPES = ("circle", "square", "triangle-up", "cross", "diamond", "triangle-down", "triangle-right", "triangle-left")
START = (
    'for (const place of document.querySelectorAll("[data-chart]")) {'
    " const specification = JSON.parse(document.getElementById(place.dataset.chart).textContent);"
    ' vegaEmbed(place, specification, { mode: "vega-lite", ast: true, actions: false, renderer: "svg" });'
    " }"
)

Losses = Mapping[str, Sequence[tuple[int, float | None]]]


@dataclass(frozen=True)
class Chart:
    """`svg`: the drawing; `specification`: JSON without `<`, for a script element; `summary`: the same in one sentence.

    `reference`: the run from which differences are drawn; `differs`: whether there are any."""

    svg: str
    specification: str
    summary: str
    reference: str
    differs: bool


@dataclass(frozen=True)
class Scripts:
    """The scripts of a page, and their hashes as sources of a content policy."""

    texts: tuple[str, ...] = ()

    @property
    def policy(self) -> str:
        found = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in self.texts]
        return " ".join(f"'sha256-{one}'" for one in found)


def has_charts() -> bool:
    """Returns whether the package that draws charts is installed."""
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        return False
    return True


@cache
def scripts() -> Scripts:
    """Returns Vega and the line that starts the charts of a page."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(None, vl_version=VEGA_LITE)  # type: ignore[arg-type]  # None: the whole bundle
    return Scripts((bundle.replace("</script", r"<\/script").replace("<!--", r"<\!--"), START))


def loss_chart(losses: Losses, names: Mapping[str, str]) -> Chart | None:
    """Returns the curves of all runs above their differences from the first run. None: no losses, or charts are not installed.

    names: label -> displayed name of a run."""
    curves = {label: known for label, points in losses.items() if (known := _known_points(points))}
    if not curves or not has_charts():
        return None
    import vl_convert

    specification = specification_of(curves, names)
    try:
        svg: str = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE, allowed_base_urls=[])
    except ValueError:  # what the library raises for anything that it cannot draw
        return None
    text = (
        json.dumps(specification, allow_nan=False)
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
    )
    differs = len(specification["vconcat"]) > 1
    return Chart(svg, text, summary_of(curves, names), names[next(iter(curves))], differs)


def _known_points(points: object) -> list[tuple[int, float | None]]:
    """Returns the points that have the form of a curve: a verdict may come from another machine."""
    found = []
    for point in points if isinstance(points, Sequence) and not isinstance(points, str) else ():
        if isinstance(point, Sequence) and len(point) == 2 and type(point[0]) is int:
            step, value = point
            number = float(value) if type(value) in (int, float) and abs(value) < 1e300 else None
            found.append((step, number))
    return found


def differences_of(losses: Losses) -> dict[str, list[tuple[int, float | None]]]:
    """Returns label -> [(step, size of the difference from the first run; None: equal, or a side is not a number)] of each other run."""
    (_, first), *others = losses.items()
    reference = dict(first)
    found = {}
    for label, points in others:
        rows: list[tuple[int, float | None]] = []
        for step, value in points:
            base = reference.get(step)
            apart = abs(value - base) if value is not None and base is not None else None
            rows.append((step, apart or None))
        found[label] = rows
    return found


def summary_of(losses: Losses, names: Mapping[str, str]) -> str:
    """Returns one sentence about where the curves differ."""
    differing = [
        step
        for label, points in losses.items()
        for (step, value), base in zip(points, _reference(losses, points), strict=True)
        if value != base
    ]
    steps = {step for points in losses.values() for step, _ in points}
    if len(losses) < 2:
        return f"Only {names[next(iter(losses))]} has recorded loss values."
    if not differing:
        return f"The loss is equal in all {len(losses)} runs at every one of the {len(steps)} steps shown."
    if len(apart := set(differing)) == len(steps):
        return f"The loss differs at all {len(steps)} steps shown."
    return f"The loss differs at {len(apart)} of the {len(steps)} steps shown, first at step {min(apart)}."


def _reference(losses: Losses, points: Sequence[tuple[int, float | None]]) -> list[float | None]:
    known = dict(next(iter(losses.values())))
    return [known.get(step, value) for step, value in points]


def specification_of(losses: Losses, names: Mapping[str, str]) -> dict[str, Any]:
    """Returns the Vega-Lite specification. Colour, dash and marker all distinguish the runs."""
    shown = [names[label] for label in losses]
    differences = differences_of(losses)
    few = max(len(points) for points in losses.values()) <= POINTS_SHOWN_MAX
    values = [
        {"run": names[label], "step": step, "value": value}
        for label, points in losses.items()
        for step, value in points
    ]
    panels = [_panel(values, shown, "loss", few=few, logarithmic=False, height_px=240)]
    apart = [
        {"run": names[label], "step": step, "value": value}
        for label, points in differences.items()
        for step, value in points
    ]
    if any(row["value"] is not None for row in apart):
        title = f"|loss − loss of {shown[0]}|"
        panels.append(_panel(apart, shown, title, few=True, logarithmic=True, height_px=150))
    return {
        "background": "white",
        "vconcat": panels,
        "resolve": {
            "scale": {
                "x": "shared",
                "color": "shared",
                "strokeDash": "shared",
                "strokeWidth": "shared",
                "shape": "shared",
            }
        },
        "config": {"font": "system-ui, sans-serif", "axis": {"gridColor": "#e4e6ea"}, "view": {"stroke": "#c9ced6"}},
    }


def _panel(
    values: list[dict[str, Any]], runs: Sequence[str], title: str, *, few: bool, logarithmic: bool, height_px: int
) -> dict[str, Any]:
    def by_run(ranged: Sequence[Any]) -> dict[str, Any]:
        chosen = [ranged[place % len(ranged)] for place in range(len(runs))]
        legend = {
            "title": None,
            "orient": "top",
            "columns": 4,
            "symbolSize": 90,
            "symbolStrokeWidth": 2,
            "labelLimit": 400,
        }
        return {"field": "run", "type": "nominal", "scale": {"domain": list(runs), "range": chosen}, "legend": legend}

    # The first curves are the widest, so that equal curves do not hide each other.
    widths = [max(2.0, 5.0 - place) for place in range(len(runs))]
    drawn = {row["run"] for row in values if row["value"] is not None}
    line = {"type": "line", "invalid": "break-paths-show-path-domains"}
    axes = {"tickMinStep": 1, "format": "d", "labelFlush": False}
    step = {"field": "step", "type": "quantitative", "title": "step", "axis": axes}
    scale = {"type": "log"} if logarithmic else {"zero": False}
    axis = {"format": ".0e", "tickCount": 3} if logarithmic else {}
    encoding = {
        "x": {**step, "scale": {"nice": False}},
        "y": {"field": "value", "type": "quantitative", "title": title, "scale": scale, "axis": axis},
        "color": by_run(COLOURS),
        "tooltip": [
            {"field": "run", "type": "nominal"},
            {"field": "step", "type": "quantitative"},
            {"field": "value", "type": "quantitative", "format": ".17g", "title": title},
        ],
    }
    layers: list[dict[str, Any]] = [
        {
            "mark": {**line, "strokeWidth": width},
            "transform": [{"filter": {"field": "run", "equal": run}}],
            "encoding": {"strokeDash": by_run(DASHES)},
        }
        for run, width in zip(runs, widths, strict=True)
        if run in drawn
    ]
    marker = {
        "type": "point",
        "filled": True,
        "size": 45 if few else 12,
        "opacity": 1 if few else 0.01,
        "invalid": "filter",
    }
    layers.append({"mark": marker, "encoding": {"shape": by_run(SHAPES)}})
    return {"width": WIDTH_PX, "height": height_px, "data": {"values": values}, "encoding": encoding, "layer": layers}
