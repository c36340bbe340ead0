"""The zoo's cases: small training scripts as people write them, each with what detctl ought to say of it in its header.

A header is TOML between `# /// zoo` and `# ///`. Keys: `outcome`; `origin`; `causes`, of which the first must be named first
(`any_order`: as a set; `any_of`: one of them); `where`, a piece of the line of the script that the verdict must name; `benign`, a stage that
must be listed as benign; `mode`: `audit` (twins by `detctl audit -- …`), `machines` (two agents), `record` (two recorded
folders); `confirmed`: causes that experiments must confirm; `decoys`: harmless differences are planted in the machines' environments;
`needs_cuda`: skipped, and said, where there is no GPU; `options` of audit; `variables`, or `left_variables` and `right_variables`; `data`: what differs between the machines'
folders (`order`, `content`, `missing`); `edit`: [old, new] in the second machine's script; `left_arguments`, `right_arguments`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One script and what is expected of its verdict."""

    name: str
    script: Path
    outcome: str
    mode: str
    origin: str | None = None
    causes: list[str] = field(default_factory=list)
    where: str = ""
    benign: str = ""
    data: str = ""
    edit: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    left_variables: dict[str, str] = field(default_factory=dict)
    right_variables: dict[str, str] = field(default_factory=dict)
    left_arguments: list[str] = field(default_factory=list)
    right_arguments: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    decoys: bool = False
    needs_cuda: bool = False
    any_order: bool = False
    any_of: bool = False

    @property
    def line(self) -> str:
        """`train.py:N` of the line that holds `where`; empty where nothing is asked."""
        if not self.where:
            return ""
        code = self.script.read_text().splitlines()
        end = code.index("# ///")
        numbers = [n for n, text in enumerate(code, start=1) if n > end and self.where in text]
        if not numbers:
            raise ValueError(f"{self.script}: no line holds {self.where!r}")
        return f"train.py:{numbers[0]}"


def load(name: str) -> Case:
    """The case of a folder; ValueError where the header is missing or holds an unknown key."""
    script = CASES / name / "train.py"
    text = script.read_text()
    head, found, rest = text.partition("# /// zoo\n")
    block = rest.partition("# ///\n")[0]
    if not found:
        raise ValueError(f"{script}: no header `# /// zoo` after {len(head)} characters")
    keys: dict[str, Any] = tomllib.loads("".join(line.removeprefix("# ") for line in block.splitlines(keepends=True)))
    try:
        return Case(name=name, script=script, **keys)
    except TypeError as error:
        raise ValueError(f"{script}: {error}") from error


def all_cases() -> list[Case]:
    """Every case by name."""
    return [load(path.name) for path in sorted(CASES.iterdir()) if (path / "train.py").exists()]


def problems(case: Case, verdict: dict[str, Any], *, explained: bool = False) -> list[str]:
    """What of the verdict is not as the header expects, in words; empty: all right. explained: experiments were asked for."""
    wrong = []
    if verdict.get("outcome") != case.outcome:
        wrong.append(f"outcome {verdict.get('outcome')}, not {case.outcome}: {verdict.get('unverified_because')}")
    if verdict.get("origin") != case.origin:
        wrong.append(f"origin {verdict.get('origin')}, not {case.origin}")
    named = [cause["cause"] for cause in verdict.get("causes", [])]
    if case.any_of:
        right = bool(set(named[:1]) & set(case.causes))
    elif case.any_order:
        right = set(named) == set(case.causes)
    else:
        right = named == case.causes
    if not right:
        wrong.append(f"causes {named}, not {case.causes}")
    told = " ".join(str(c.get("fix", "")) + " " + " ".join(c.get("evidence", [])) for c in verdict.get("causes", []))
    if case.line and not re.search(rf"{re.escape(case.line)}(?!\d)", told):
        wrong.append(f"no mention of {case.line}")
    told_confirmed = {cause["cause"] for cause in verdict.get("causes", []) if cause.get("confidence") == "confirmed"}
    if false := told_confirmed - set(case.causes):
        wrong.append(f"falsely confirmed: {sorted(false)}")
    if explained and (missing := set(case.confirmed) - told_confirmed):
        wrong.append(f"not confirmed: {sorted(missing)}")
    if case.benign and not any(case.benign in str(item) for item in verdict.get("benign", [])):
        wrong.append(f"{case.benign} is not listed as benign: {verdict.get('benign')}")
    return wrong
