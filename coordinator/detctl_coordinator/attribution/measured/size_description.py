"""Sentences about the measured size of a difference. They are written from the facts of a verdict's zoom, and nothing reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # comparison on a bare GPU machine lacks pydantic
    from detctl_coordinator.domain.verdict import MeasuredChange, MeasuredElements, Zoom


NOT_MEASURED = "The size is an estimate: the difference was not measured element by element."
RANGES_SHOWN = 3
ULP_SHOWN_MAX = 100_000  # values further apart have nothing to do with each other
_PATTERNS = {
    "special-values": "{special} of them {are} NaN or infinite on one side only.",
    "permuted-rows": "Both sides have the same rows in another order.",
    "one-bit": "Exactly one bit differs.",
    "rounding": "This is rounding.",
    "scaled": "The second value is {scale} times the first.",
    "few-elements": "This is more than rounding.",
    "other": "This is more than rounding.",
    "one-element": "",
}


def describe_size(zoom: Zoom) -> str:
    """Returns one or two sentences about what was measured, or that nothing was."""
    parts = [describe_change(zoom.change)] if zoom.change is not None else []
    if zoom.elements is None:
        return " ".join((*parts, NOT_MEASURED))
    return " ".join((describe_elements(zoom.elements, judged=zoom.change is None), *parts))


def describe_elements(one: MeasuredElements, *, judged: bool = True) -> str:
    """Returns how two values differ. `judged`: whether to add that it is rounding or not; a weight is judged by its change instead."""
    if not one.differing:
        return f"All {one.compared:,} elements are equal{_part(one)}."
    text = f"{one.differing:,} of {one.compared:,} elements ({one.dtype}{_part(one)}) differ"
    if one.ulp_median is not None and one.ulp_median <= ULP_SHOWN_MAX:
        unit = "ulp" if _is_float(one) else "units"
        spread = (
            f"{one.ulp_min:,}"
            if one.ulp_min == one.ulp_max
            else f"{one.ulp_min:,} to {one.ulp_max:,}, median {one.ulp_median:,.0f}"
        )
        text += f", by {spread} {unit}"
    if one.relative_max is not None and _is_float(one):
        text += f", by at most {one.relative_max:.1e} of the value"
    if one.rows and one.rows_total > 1:
        text += f", in {_rows(one)}"
    pattern = _pattern(one) if judged else ""
    return f"{text}. {pattern}".strip()


def describe_change(change: MeasuredChange) -> str:
    """Returns how the changes of a value differ."""
    if change.ratio is None:
        return "Only one run changes the value."
    if change.proportional:
        return f"The change of the value is {change.ratio:.6g} times as large in the second run, in the same direction."
    if change.relative is not None and change.relative < 1e-5:
        return f"The change of the value differs by {change.relative:.1e} relative."
    where = f"at a cosine of {change.cosine:.4f}"
    return f"The change of the value is {change.ratio:.4g} times as long in the second run, {where}."


def _pattern(one: MeasuredElements) -> str:
    if one.pattern == "reduced-precision":
        if one.rounded_to is None:
            return "They agree in as many bits as after a computation in reduced precision."
        name = "TF32 or float16" if one.rounded_to == "tf32" else one.rounded_to
        return f"The values of the {one.rounded_side} run have only the mantissa bits of {name}."
    are = "is" if one.special == 1 else "are"
    scale = f"{one.scale:.6g}" if one.scale is not None else ""
    return _PATTERNS.get(one.pattern, "").format(special=one.special, are=are, scale=scale)


def _rows(one: MeasuredElements) -> str:
    ranges = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in one.rows[:RANGES_SHOWN])
    if one.rows_differing == one.rows_total:
        return f"all {one.rows_total:,} rows"
    rows = "row" if one.rows_differing == 1 else f"{one.rows_differing:,} of {one.rows_total:,} rows,"
    return f"{rows} {ranges}" + (" …" if len(one.rows) > RANGES_SHOWN else "")


def _part(one: MeasuredElements) -> str:
    return f", one in {one.every} of {one.total:,} compared" if one.every > 1 else ""


def _is_float(one: MeasuredElements) -> bool:
    return "float" in one.dtype
