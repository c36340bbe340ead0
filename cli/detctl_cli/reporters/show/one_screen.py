"""Cuts output to what fits one screen of 24 lines and 80 columns, and reports how much was left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LINES = 23  # the prompt of the shell takes one more
COLUMNS = 80
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def screen_lines(line: str) -> int:
    """Returns how many lines of the screen a line takes."""
    return max(1, -(-len(_STYLE.sub("", line)) // COLUMNS))


def first_lines(lines: Sequence[str], room: int, whole: str) -> list[str]:
    """Returns the lines that fit into `room` lines of the screen. The last one reports how many were left out.

    whole: the command that shows all of them.
    """
    if sum(map(screen_lines, lines)) <= room:
        return list(lines)
    kept: list[str] = []
    used = 1  # the last line
    for line in lines:
        used += screen_lines(line)
        if used > room:
            break
        kept.append(line)
    left = len(lines) - len(kept)
    return [*kept, f"  … {left} more line{'s' if left > 1 else ''}: {whole}"]


def written_lines(out: Console, write: Callable[[], None]) -> list[str]:
    """Returns the lines that `write` prints to `out`, with their styles."""
    with out.capture() as captured:
        write()
    return captured.get().splitlines()
