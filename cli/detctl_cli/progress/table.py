"""Lays out the progress of an audit for a terminal of a given size. No line is wider than the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detctl_cli.output.times import count, short_clock
from detctl_cli.progress.view import AuditView, RunView, shown_runs

if TYPE_CHECKING:
    from rich.text import Text

WIDE = 100  # from this width on, names and bars get more room
NAME_MAX, NAME_MAX_WIDE = 20, 32
BAR, BAR_WIDE = 10, 24
TIME, LEFT = 7, 12
GAP = "  "
_STYLE = {"running": "cyan", "sealed": "green", "failed": "red", "cancelled": "yellow"}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_SPINNER = "|/-\\"


def audit_lines(
    view: AuditView, width: int, height: int, *, since_s: float = 0.0, elapsed_s: float = 0.0, plain: bool = False
) -> list[Text]:
    """Returns the lines of the live table. since_s: age of the view; elapsed_s: age of the command; plain: ASCII only."""
    head = [f"audit {view.audit_id}", short_clock(elapsed_s), view.counted]
    if view.fingerprints_per_s:
        head.append(f"{count(view.fingerprints_per_s)} fingerprints/s")
    lines = [_line("   ".join(head), width, "bold")]
    rows = max(1, height - 4)
    runs, rest = shown_runs(view, rows)
    printing = sum(bool(run.output) for run in runs)
    with_output = len(runs) + printing + bool(rest) <= rows
    longest = max((len(run.name) for run in runs), default=0)
    name_width = min(longest, NAME_MAX_WIDE if width >= WIDE else NAME_MAX)
    for run in runs:
        lines.append(_run_line(run, name_width, width, since_s, plain))
        if with_output and run.output:
            lines.append(_line(f"{GAP}{'>' if plain else '└'} {run.output}", width, "dim"))
    if rest:
        lines.append(_line(rest, width, "dim"))
    if view.doing:
        lines.append(stage_line(view.doing, width, elapsed_s, plain=plain))
    return _ascii(lines) if plain else lines


def stage_line(
    text: str, width: int, elapsed_s: float, *, done: int = 0, of: int = 0, plain: bool = False, timed: bool = False
) -> Text:
    """Returns one line with a sign that moves, what is happening, and how far it is. timed: with the elapsed time."""
    frames = _ASCII_SPINNER if plain else _SPINNER
    moving = frames[int(elapsed_s * 8) % len(frames)]
    far = f"{GAP}{bar(done, of, BAR, plain)} {done} of {of}" if of else ""
    time = f"{GAP}{short_clock(elapsed_s)}" if timed else ""
    return _line(f"{moving} {_cut(text, width - 2 - len(far) - len(time) - 1)}{far}{time}", width, "")


def bar(done: int, of: int, width: int, plain: bool) -> str:
    """Returns a bar of exactly `width` cells; of: 0 if the end is unknown."""
    full, empty = ("#", "-") if plain else ("━", "╌")
    filled = min(width, done * width // of) if of else 0
    return full * filled + empty * (width - filled)


def _run_line(run: RunView, name_width: int, width: int, since_s: float, plain: bool) -> Text:
    from rich.text import Text

    bar_width = BAR_WIDE if width >= WIDE else BAR
    elapsed = short_clock(run.elapsed_s + since_s) if run.active and run.elapsed_s else ""
    left = "" if run.remaining_s is None else f"{short_clock(max(0.0, run.remaining_s - since_s))} left"
    if run.over:
        elapsed = left = ""
    filled = 1 if run.state == "sealed" else run.done
    whole = 1 if run.state == "sealed" else run.total
    doing = f"step {run.done}, {run.doing}" if run.active and run.done and "step" not in run.doing else run.doing
    text = Text(no_wrap=True)
    text.append(_padded(run.name, name_width) + GAP)
    text.append(bar(filled, whole, bar_width, plain) + GAP, _STYLE.get(run.state, "dim"))
    room = width - 1 - name_width - bar_width - 2 * len(GAP)
    if elapsed or left:
        room -= TIME + LEFT + len(GAP)
        text.append(_padded(doing, room) + GAP + elapsed.rjust(TIME) + left.rjust(LEFT))
    else:
        text.append(_cut(doing, room))
    return text


def _line(text: str, width: int, style: str) -> Text:
    from rich.text import Text

    return Text(_cut(text, width - 1), style=style, no_wrap=True)


def _padded(text: str, width: int) -> str:
    from rich.cells import set_cell_size

    return set_cell_size(_cut(text, width), max(0, width))


def _cut(text: str, width: int) -> str:
    """Returns the text in at most `width` cells; wide characters take two."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…" if width > 0 else ""


def _ascii(lines: list[Text]) -> list[Text]:
    """Returns the lines with a question mark for each character that the terminal may lack."""
    for line in lines:
        line.plain = line.plain.replace("…", "~").encode("ascii", "replace").decode("ascii")
    return lines
