"""What the probe reads in the user's source about optimizers: sets that order parameters, writers of settings, calls behind a value."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from detctl_probe.observe.optimization import group_settings, source, unordered
from torch import nn

pytestmark = pytest.mark.usefixtures("fresh_sources")


def found_in(folder: Path, code: str) -> list[dict[str, Any]]:
    """Runs a script whose `make(model, here)` calls here(parameters) where an optimizer would be made."""
    file = folder / "train.py"
    file.write_text(code)
    found: list[dict[str, Any]] = []

    def here(parameters: list[Any]) -> None:
        frames: list[FrameType] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == str(file):
                frames.append(frame)
            frame = frame.f_back
        found.extend(unordered.find(frames, parameters, torch))

    names: dict[str, Any] = {"nn": nn, "torch": torch, "__name__": "train"}
    exec(compile(code, str(file), "exec"), names)
    names["make"](nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), here)
    return found


@pytest.mark.parametrize(
    ("body", "elements", "seen", "line", "expression"),
    [
        (
            "    unique = set(model.parameters())\n    here([p for p in unique])\n",
            "tensor",
            True,
            2,
            "set(model.parameters())",
        ),
        (
            "    unique = {p for p in model.parameters()}\n    here(list(unique))\n",
            "tensor",
            True,
            2,
            "{p for p in model.parameters()}",
        ),
        (
            "    layers = set(model)\n    here([p for m in layers for p in m.parameters()])\n",
            "module",
            True,
            2,
            "set(model)",
        ),
        ("    here(list(set(model.parameters())))\n", "tensor", False, 2, "set(model.parameters())"),
        ("    here(sorted(model.parameters(), key=id))\n", "tensor", False, 2, "key=id"),
        (
            "    table = dict(model.named_parameters())\n    keep = set()\n    for name in table:\n        keep.add(name)\n"
            "    here([table[name] for name in keep])\n",
            "str",
            True,
            6,
            "keep",
        ),
    ],
)
def test_what_orders_parameters(
    body: str, elements: str, seen: bool, line: int, expression: str, tmp_path: Path
) -> None:
    (one,) = found_in(tmp_path, f"def make(model, here):\n{body}")
    assert (one["elements"], one["seen"], one["line"], one["expression"]) == (elements, seen, line, expression)


@pytest.mark.parametrize(
    "body",
    [
        "    here(list(model.parameters()))\n",
        "    unique = set(model.parameters())\n    here([p for p in model.parameters() if p in unique])\n",
        "    words = {'a', 'b'}\n    here([p for w in sorted(words) for p in model.parameters()])\n",
        "    here(list(dict.fromkeys(model.parameters())))\n",
    ],
)
def test_parameters_in_the_models_order_are_ordered_by_nothing_else(body: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, f"def make(model, here):\n{body}") == []


def test_a_set_that_a_helper_makes_is_found_in_the_helper(tmp_path: Path) -> None:
    code = (
        "def distinct(params):\n    return list({p for p in params})\n\n"
        "def make(model, here):\n    here(distinct(model.parameters()))\n"
    )
    (one,) = found_in(tmp_path, code)
    assert (one["elements"], one["seen"], one["line"]) == ("tensor", False, 2)
    assert one["argument"] == "p for p in params"


def test_who_assigns_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text(
        "for g in groups:\n    g['lr'] = 0.1\n    g['lr'] *= 2\n    print(g['lr'])\n    g.update(lr=3)\n    g['eps'], g['lr'] = 1, 2\n"
    )
    assert [line for _, line in source.assignments([str(file)], "lr")] == [2, 3, 5, 6]
    assert [line for _, line in source.assignments([str(file)], "momentum")] == []


@pytest.mark.parametrize(
    ("code", "line", "key", "calls"),
    [
        ("import time\nrate = time.time() % 1\ng['lr'] = rate\n", 3, "", ["time.time"]),
        ("from time import perf_counter as clock\ng['lr'] = clock()\n", 2, "", ["time.perf_counter"]),
        ("import time\nm = Net(time.time())\no = Adam(m.parameters(), lr=0.1)\n", 3, "lr", []),
        (
            "def f(n):\n    decay = hash(n) % 7\n    return Adam([{'params': [], 'weight_decay': decay}])\n",
            3,
            "weight_decay",
            ["hash"],
        ),
    ],
)
def test_calls_behind_a_value(code: str, line: int, key: str, calls: list[str], tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text(code)
    assert source.calls_into(str(file), line, key) == calls


def test_settings_are_compared_by_value_and_not_by_their_keys_order() -> None:
    a = group_settings.values_of([{"params": [1], "lr": 0.1, "betas": (0.9, 0.99), "foreach": None}])
    b = group_settings.values_of([{"foreach": None, "betas": [0.9, 0.99], "lr": 0.1, "params": [2]}])
    c = group_settings.values_of([{"params": [1], "lr": 0.1, "betas": (0.9, 0.999), "foreach": None}])
    assert group_settings.fingerprint(a) == group_settings.fingerprint(b) != group_settings.fingerprint(c)
    assert group_settings.changed(a, c) == [(0, "betas")]
