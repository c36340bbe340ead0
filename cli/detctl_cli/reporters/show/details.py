"""Writes the output of `detctl show`: the verdict of an audit, and facts as an indented list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detctl_cli.output.clean import clean, clean_lines
from detctl_cli.reporters.show.costs import cost_lines

if TYPE_CHECKING:
    from rich.console import Console


def write_details(kind: str, content: Any, out: Console) -> None:
    """Writes one audit, run or machine. The verdict of an audit is shown as `detctl compare` shows it."""
    verdict = content.get("verdict") if isinstance(content, Mapping) else None
    if isinstance(verdict, Mapping) and verdict:
        from detctl_cli.reporters.verdict_text import write_verdict

        write_verdict(verdict, out, verbose=True)
        out.print()
        content = {key: value for key, value in content.items() if key != "verdict"}
    out.print(kind or "item", style="bold")
    if isinstance(content, Mapping):
        for line in cost_lines(content):
            out.print(f"  probe  {line}", soft_wrap=True)
    _write_value(content, out, 1)


def _write_value(value: Any, out: Console, depth: int) -> None:
    indent = "  " * depth
    if isinstance(value, Mapping):
        width = max(
            (len(clean(key)) for key, item in value.items() if not isinstance(item, (Mapping, list))), default=0
        )
        for key, item in value.items():
            if item in (None, "", [], {}):
                continue
            if isinstance(item, (Mapping, list)) and not _short(item):
                out.print(f"{indent}{clean(key)}")
                _write_value(item, out, depth + 1)
            elif isinstance(item, str) and "\n" in item.strip():
                out.print(f"{indent}{clean(key)}")
                for line in clean_lines(item.rstrip()).splitlines():
                    out.print(f"{indent}  | {line}", soft_wrap=True)
            else:
                out.print(f"{indent}{clean(key):<{width}}  {_one_line(item)}", soft_wrap=True)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, (Mapping, list)) and not _short(item):
                out.print(f"{indent}-")
                _write_value(item, out, depth + 1)
            else:
                out.print(f"{indent}- {_one_line(item)}", soft_wrap=True)
    else:
        out.print(f"{indent}{_one_line(value)}", soft_wrap=True)


def _short(value: Mapping[str, Any] | list[Any]) -> bool:
    """Returns whether a value fits on one line, as a list of plain values does."""
    return isinstance(value, list) and all(not isinstance(item, (Mapping, list)) for item in value)


def _one_line(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, list):
        return ", ".join(_one_line(item) for item in value)
    return clean(value)
