"""Tables on the terminal; on a narrow terminal, one block of lines for each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detctl_cli.output.clean import clean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Cell = Callable[[Mapping[str, Any]], "str | Text"]

NARROW = 72  # columns of a terminal; from here on, rich wraps cells and nothing is lost
NUMERIC = ("step", "records", "number")
STYLES = {
    "identical": "green",
    "different": "red",
    "unverified": "yellow",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "sealed": "green",
    "done": "green",
    "unreadable": "red",
}


def write_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Cell], out: Console, *, if_empty: str) -> None:
    """Writes a table with these columns (title -> function that gives a row's cell), or `if_empty` if there are no rows."""
    from rich import box
    from rich.table import Table

    if not rows:
        out.print(if_empty)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in columns:
        justify = "right" if title in NUMERIC else "left"
        table.add_column(title, justify=justify, no_wrap=title in ("run", "audit", "machine"))  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    if _fits(table, out):
        out.print(table)
    else:
        _write_blocks(table, out)


def text(key: str) -> Cell:
    """Returns the function that gives a row's value as text. Items of a list have commas between them; None is empty."""

    def cell(row: Mapping[str, Any]) -> str:
        value = row[key]
        return clean(", ".join(value) if isinstance(value, list) else "" if value is None else value)

    return cell


def styled(word: str | None, style: str = "") -> Text:
    """Returns a word in its colour: the given one, else that of the state or outcome that it names."""
    from rich.text import Text

    return Text(clean(word or ""), style=style or STYLES.get(word or "", ""))


def _fits(table: Table, out: Console) -> bool:
    """Returns whether the table is readable on this terminal. A narrow one would cut its cells to nothing."""
    from rich.measure import Measurement

    natural = Measurement.get(out, out.options.update(max_width=10_000), table).maximum
    return not out.is_terminal or out.width >= NARROW or natural <= out.width


def _write_blocks(table: Table, out: Console) -> None:
    from rich.text import Text

    width = max(len(str(column.header)) for column in table.columns)
    cells = [list(column.cells) for column in table.columns]
    for number in range(table.row_count):
        if number:
            out.print()
        for column, values in zip(table.columns, cells, strict=True):
            value = values[number]
            if str(value):
                line = Text(f"{column.header!s:<{width}}  ", style="bold").append("", style="not bold")
                line.append(value if isinstance(value, Text) else Text(str(value), style="not bold"))
                out.print(line, soft_wrap=True)
