"""The field's cases: small trainings rebuilt from public bug reports, each with the right answer in a file case.toml beside the scripts.

Keys of case.toml:

* `source`: the report (URLs); `story`: what it reports and what this training does; `area`: the class of faults, for the table.
* `mode`: `audit` (twins by `detctl audit -- COMMAND`), `record` (two recordings and `detctl compare`), `machines` (two agents).
* `command`: arguments of Python, `["train.py"]` by default; `options` of the audit; `variables` of every run.
* `left`, `right` (of `record` and `machines`): tables with `arguments`, `variables`, `folder` (where the scripts are copied to; the same
  folder for both by default), `tmpfs` (that folder lies on a tmpfs), `edit` ([file, old, new]), and `prepare` (commands of
  Python that run before, unrecorded; at the top level: in each folder).
* `needs`: programs without which the case is skipped. In a variable, `{folder}` is the folder that the run starts in.
* `outcome`; `origin`: one word, or several of which one must be found (`"none"`: the verdict has no origin).
* `causes`: a cause each, all must be named and no other; `a|b`: either word is right. Without causes, the training is identical or the
  right answer is to abstain; then no cause may be named but `unknown`.
* `confirmed`: causes that experiments must confirm (words as in `causes`). The case runs with --explain.
* `lines`: `file.py: a piece of the line`, each must be named; `a || b`: either.
* `fix`: pieces that the fixes must contain (`a || b`: either); `not_fix`: pieces that none may contain.
* `restored`, `not_restored` (of a run that continues the other): states that the verdict's continuation must list there; of `not_restored`
  all must be listed and no other. `a|b`: either.
* `mentions`: regular expressions (letters of either case) that the verdict's causes, benign differences or summary must match.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"
RIGHT, HALF, ABSTAINED, WRONG, FAILED = "right", "half right", "abstained", "WRONG", "failed"


@dataclass(frozen=True)
class Side:
    """One of two recordings or machines."""

    arguments: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    folder: str = "work"
    tmpfs: bool = False
    edit: list[str] = field(default_factory=list)
    prepare: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """A training and the right answer."""

    name: str
    source: list[str]
    story: str
    area: str
    mode: str
    outcome: str
    origin: list[str]
    causes: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    fix: list[str] = field(default_factory=list)
    not_fix: list[str] = field(default_factory=list)
    mentions: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    not_restored: list[str] | None = None
    command: list[str] = field(default_factory=lambda: ["train.py"])
    options: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    prepare: list[list[str]] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    left: Side = field(default_factory=Side)
    right: Side = field(default_factory=Side)

    @property
    def folder(self) -> Path:
        return CASES / self.name

    def lacks(self) -> list[str]:
        """Programs that the case needs and this machine lacks."""
        return [program for program in self.needs if shutil.which(program) is None]

    def places(self) -> list[set[str]]:
        """`file.py:N` of each of `lines`: a set of which one must be named."""
        return [{at for piece in line.split(" || ") for at in self._numbers(piece)} for line in self.lines]

    def _numbers(self, piece: str) -> Iterator[str]:
        name, _, text = piece.partition(": ")
        found = [n for n, code in enumerate((self.folder / name).read_text().splitlines(), 1) if text in code]
        if not found:
            raise ValueError(f"{self.folder / name}: no line holds {text!r}")
        return (f"{name}:{number}" for number in found)


@dataclass(frozen=True)
class Score:
    """How right a verdict is, and what is wrong with it."""

    grade: str
    wrong: list[str]


def load(name: str) -> Case:
    """The case of a folder; ValueError where case.toml holds an unknown key."""
    path = CASES / name / "case.toml"
    keys: dict[str, Any] = tomllib.loads(path.read_text())
    for key in ("source", "origin"):
        if isinstance(keys.get(key), str):
            keys[key] = [keys[key]]
    try:
        sides = {side: Side(**keys.pop(side, {})) for side in ("left", "right")}
        return Case(name=name, **{"origin": ["none"], **keys}, **sides)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error


def all_cases() -> list[Case]:
    """Every case by name."""
    return [load(path.parent.name) for path in sorted(CASES.glob("*/case.toml"))]


def score(case: Case, verdict: dict[str, Any]) -> Score:
    """Compares a verdict with the right answer. A false statement makes it wrong; one that is missing, half right or an abstention."""
    if verdict.get("outcome") == "error":
        return Score(FAILED, [" ".join(map(str, verdict.get("unverified_because", [])))])
    false = _false_statements(case, verdict)
    missing = _missing_statements(case, verdict)
    if false:
        return Score(WRONG, false + missing)
    if not missing:
        return Score(RIGHT, [])
    named = [cause for cause in _named(verdict) if cause != "unknown"]
    abstained = verdict.get("outcome") == "unverified" or (case.causes and not named)
    return Score(ABSTAINED if abstained else HALF, missing)


def _named(verdict: dict[str, Any]) -> list[str]:
    return [str(cause["cause"]) for cause in verdict.get("causes", [])]


def _false_statements(case: Case, verdict: dict[str, Any]) -> list[str]:
    """What the verdict states although it is not so: the outcome, an origin, a cause, a confirmation."""
    found = []
    outcome, origin = verdict.get("outcome"), verdict.get("origin")
    if outcome not in (case.outcome, "unverified"):
        found.append(f"outcome {outcome}, not {case.outcome}")
    if origin is not None and origin not in case.origin:
        found.append(f"origin {origin}, not {' or '.join(case.origin)}")
    planted = {word for cause in case.causes for word in cause.split("|")}
    for cause in verdict.get("causes", []):
        if cause["cause"] not in planted | {"unknown"}:
            found.append(f"cause {cause['cause']} ({cause.get('confidence')}), not {case.causes or 'any'}")
    continuation = verdict.get("continuation") or {}
    if case.not_restored is not None:
        lost = {word for state in case.not_restored for word in state.split("|")}
        found += [
            f"{state} is listed as not restored" for state in continuation.get("not_restored", []) if state not in lost
        ]
        found += [f"{state} is listed as restored" for state in continuation.get("restored", []) if state in lost]
    return found


def _missing_statements(case: Case, verdict: dict[str, Any]) -> list[str]:
    """What the right answer has and the verdict has not."""
    found = []
    if verdict.get("outcome") != case.outcome:
        found.append(f"outcome {verdict.get('outcome')}: {verdict.get('unverified_because')}")
    if verdict.get("origin") is None and "none" not in case.origin:
        found.append(f"no origin, not {' or '.join(case.origin)}")
    sure = {cause["cause"] for cause in verdict.get("causes", []) if cause.get("confidence") == "confirmed"}
    found += [
        f"cause {cause} is not named" for cause in case.causes if not set(cause.split("|")) & set(_named(verdict))
    ]
    found += [f"cause {cause} is not confirmed" for cause in case.confirmed if not set(cause.split("|")) & sure]
    if case.causes and "unknown" in _named(verdict) and "unknown" not in {w for c in case.causes for w in c.split("|")}:
        found.append("a further cause `unknown` is named")
    continuation = verdict.get("continuation") or {}
    for key, states in (("restored", case.restored), ("not_restored", case.not_restored or [])):
        listed = set(continuation.get(key, []))
        found += [f"{state} is not listed as {key}" for state in states if not set(state.split("|")) & listed]
    named = named_places(verdict)
    found += [f"no mention of {' or '.join(sorted(places))}" for places in case.places() if not places & named]
    fixes = "\n".join(
        "\n".join([str(cause.get("fix", "")), *map(str, cause.get("change", [])), str(cause.get("fix_settings", ""))])
        for cause in verdict.get("causes", [])
    )
    found += [
        f"no fix contains {piece!r}" for piece in case.fix if not any(word in fixes for word in piece.split(" || "))
    ]
    found += [f"a fix contains {piece!r}" for piece in case.not_fix if piece in fixes]
    text = "\n".join(_strings([verdict.get(key) for key in ("causes", "benign", "summary", "notes")]))
    found += [
        f"nothing mentions /{pattern}/" for pattern in case.mentions if not re.search(pattern, text, re.IGNORECASE)
    ]
    return found


def named_places(verdict: dict[str, Any]) -> set[str]:
    """Every `file.py:N` that a cause, a clue of one or a benign difference names, without the folder."""
    parts = [verdict.get("causes", []), verdict.get("benign", []), (verdict.get("zoom") or {}).get("at", [])]
    places = set(re.findall(r"([\w.-]+\.py:\d+)(?!\d)", json.dumps(parts)))
    return places | {f"{Path(clue['file']).name}:{clue['line']}" for clue in _places_as_fields(parts)}


def _places_as_fields(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("file") and value.get("line"):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _places_as_fields(item)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
