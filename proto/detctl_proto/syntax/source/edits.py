"""Changes the source of a statement, and shows its lines before and after. Pure."""

from __future__ import annotations

import ast
import textwrap
import warnings
from dataclasses import dataclass

from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.statements import head_lines, lines_of

LINES_MAX = 12  # of a statement that is shown


@dataclass(frozen=True)
class Fix:
    """A replaced statement, or the head of one. old, new: its lines as they are and as they should be. imports: modules that the new
    lines need and the file lacks. expression: the part that is new, as `sorted(unique_tags)`."""

    line: int
    end_line: int
    old: tuple[str, ...]
    new: tuple[str, ...]
    expression: str = ""
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edit:
    """Replaces the source of a node by a text, in which {} is the old source. after: lines that follow the head of a loop."""

    node: ast.AST
    text: str
    after: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()


def wrapped(node: ast.expr, template: str) -> str:
    """Returns the template with a mark for the node's own source; see applied."""
    return template.replace("{}", f"\0{node.lineno}:{node.col_offset}:{node.end_lineno}:{node.end_col_offset}\0")


def applied(module: Module, source: str, edits: list[Edit]) -> Fix | None:
    """Returns what edits of one statement make of its lines; None if nothing changes, or it is too long to be shown. Raises SyntaxError."""
    lines = lines_of(source)
    raw = [line.encode("utf-8", "surrogatepass") for line in lines]

    def segment(line: int, column: int, end_line: int, end_column: int) -> str:
        if line == end_line:
            return raw[line - 1][column:end_column].decode("utf-8", "surrogatepass")
        middle = [row.decode("utf-8", "surrogatepass") for row in raw[line : end_line - 1]]
        first = raw[line - 1][column:].decode("utf-8", "surrogatepass")
        last = raw[end_line - 1][:end_column].decode("utf-8", "surrogatepass")
        return "\n".join([first, *middle, last])

    statement = next(
        (outer for outer in (edits[0].node, *module.ancestors(edits[0].node)) if isinstance(outer, ast.stmt)), None
    )
    if statement is None:
        return None
    start, end = head_lines(lines, statement)
    if end - start >= LINES_MAX:
        return None
    after = edits[0].after
    imports = tuple(name for edit in edits for name in edit.imports)
    shown = ""
    if after:
        body = getattr(statement, "body", None)
        if not body or body[0].lineno <= end:
            return None
        indent = lines[body[0].lineno - 1][: body[0].col_offset]
        new_lines = [*lines[:end], *(indent + line for line in after), *lines[end:]]
        new = [*lines[start - 1 : end], *(indent + line for line in after)]
        shown = "; ".join(after)
    else:
        changed = list(raw)
        tail_after = len(raw) - end
        for edit in sorted(edits, key=lambda one: (-one.node.lineno, -one.node.col_offset)):  # type: ignore[attr-defined]
            node = edit.node
            place = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
            text = edit.text.replace("{}", segment(*place))
            if "\0" in text:
                head, mark, tail = text.split("\0")
                text = head + segment(*(int(number) for number in mark.split(":"))) + tail
            if "\n" in edit.text:  # several statements
                text = textwrap.indent(text, lines[place[0] - 1][: place[1]]).lstrip()
            shown = text
            first, last = changed[place[0] - 1][: place[1]], changed[place[2] - 1][place[3] :]
            replaced = first + text.encode("utf-8", "surrogatepass") + last
            changed[place[0] - 1 : place[2]] = replaced.split(b"\n")
        new_lines = [row.decode("utf-8", "surrogatepass") for row in changed]
        new = new_lines[start - 1 : len(new_lines) - tail_after]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ast.parse("\n".join(new_lines) + "\n")
    old = lines[start - 1 : end]
    if new == old:
        return None
    return Fix(start, end, tuple(old), tuple(new), shown if "\n" not in shown else "", imports)
