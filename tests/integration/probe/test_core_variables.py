"""Which variables a training's own code asks for, in real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from collector import collect, script
from test_core_observers import PYTHONS, interpreter

WAYS = """import os, subprocess, sys
a = os.environ.get("ASKED_GET", "1")
b = os.getenv("ASKED_GETENV")
c = "ASKED_IN" in os.environ
try:
    os.environ["ASKED_ITEM"]
except KeyError as error:
    print(error)
def setting(name):
    return os.environ.get(name)
d = setting("ASKED_BY_HELPER")
given = {key: value for key, value in os.environ.items() if key.startswith("MINE_")}
copy = dict(os.environ), {**os.environ}, os.environ.copy()
for key in [word + "_NAME" for word in ("FIRST", "SECOND")]:
    os.environ.get(key)
try:
    os.environ["".join(["AN", "ITEM"])]
except KeyError:
    pass
print(a, b, c, d, len(copy), "COPIED" in copy[0])
"""
LINES = {
    "ASKED_GET": 2,
    "ASKED_GETENV": 3,
    "ASKED_IN": 4,
    "ASKED_ITEM": 6,
    "ASKED_BY_HELPER": 11,
    "MINE_LR": 12,
    "FIRST_NAME": 15,
    "SECOND_NAME": 15,
    "ANITEM": 17,
}


@pytest.mark.parametrize("version", PYTHONS)
def test_every_way_to_read_is_reported_with_its_line_and_copies_are_not(tmp_path: Path, version: str) -> None:
    script(tmp_path, WAYS)
    run = collect([interpreter(version), "train.py"], cwd=tmp_path, env={"OTHER": "x", "MINE_LR": "3"})
    assert run.stderr == ""
    reported = {note["name"]: note["line"] for note in run.main.notes if note["kind"] == "variable"}
    assert reported == LINES
    assert {note["file"] for note in run.main.notes if note["kind"] == "variable"} == {"{cwd}/train.py"}
    assert "'ASKED_ITEM'" in run.stdout
