"""Writes the answers of the known-answer test of one machine, or the classes of several machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detctl_proto.known_answers import class_of_answers

from detctl_cli.output.clean import clean

if TYPE_CHECKING:
    from rich.console import Console

LABEL_WIDTH = 26


def write_answers(document: Mapping[str, Any], out: Console) -> None:
    """Writes the class, the settings, and the first twelve digits of each answer."""
    settings = ", ".join(f"{name} {value}" for name, value in (document.get("settings") or {}).items())
    out.print(
        f"class {class_of_answers(document['answers'])}   torch {clean(document.get('torch'))}, {clean(settings)}",
        style="bold",
    )
    for question, answer in document["answers"].items():
        out.print(f"  {clean(question):<{LABEL_WIDTH}}{clean(answer)[:12]}", soft_wrap=True)
    out.print(
        "  to compare machines, run detctl kat --json > NAME.json on each, then detctl kat A.json B.json",
        soft_wrap=True,
    )


def write_classes(result: Mapping[str, Any], out: Console) -> None:
    """Writes whether the answers are equal, which ones differ, and which settings differ."""
    classes = result["classes"]
    if len(classes) == 1:
        out.print(f"EQUAL   {result['asked']} answers", style="bold green")
    else:
        differing = len(result["differ"])
        out.print(f"{len(classes)} CLASSES   {differing} of {result['asked']} answers differ", style="bold red")
    for number, names in enumerate(classes, 1):
        out.print(f"  {f'class {number}':<{LABEL_WIDTH}}{', '.join(clean(name) for name in names)}", soft_wrap=True)
    for question, groups in result["differ"].items():
        text = " ≠ ".join(" = ".join(clean(name) for name in names) for names in groups)
        out.print(f"  {clean(question):<{LABEL_WIDTH}}{text}", soft_wrap=True)
    for question, names in result["missing"].items():
        out.print(f"  {clean(question):<{LABEL_WIDTH}}not answered by {', '.join(map(clean, names))}", soft_wrap=True)
    keys = dict.fromkeys(key for settings in result["settings"].values() for key in settings)
    for key in keys:
        values = {name: settings.get(key) for name, settings in result["settings"].items()}
        if len({str(value) for value in values.values()}) > 1:
            text = ", ".join(f"{clean(name)}: {clean(str(value))}" for name, value in values.items())
            out.print(f"  {clean(key):<{LABEL_WIDTH}}{text}", soft_wrap=True)
