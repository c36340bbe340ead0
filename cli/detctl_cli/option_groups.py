"""Options of commands as typed dataclasses. One dataclass holds the options of one panel of a help page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields
from functools import wraps
from typing import Any, get_type_hints

import rich_click as click

_OPTION = "option"


def option(*declarations: str, **attributes: Any) -> Any:
    """Returns a field of a group. click.option(*declarations, **attributes) gives its value."""
    return field(metadata={_OPTION: (declarations, attributes)})


def option_groups(**groups: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator that gives a command the options of each group, and passes each group as the argument of its name.

    A group is a dataclass whose fields are options, with the panel's title in PANEL, or groups in turn.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(**values: Any) -> Any:
            found = {name: _collect(group, values) for name, group in groups.items()}
            return function(**values, **found)

        click.help_option("-h", "--help", panel="Output", help="Show this message and exit.")(command)
        for group in reversed(groups.values()):
            _declare(group, command)
        return command

    return decorate


def _declare(group: Any, command: Callable[..., Any]) -> None:
    for one in reversed(fields(group)):
        if _OPTION in one.metadata:
            declarations, attributes = one.metadata[_OPTION]
            click.option(*declarations, one.name, panel=group.PANEL, **attributes)(command)
        else:
            _declare(get_type_hints(group)[one.name], command)


def _collect(group: Any, values: dict[str, Any]) -> Any:
    """Returns the group made of its values, which it removes from `values`."""
    return group(
        **{
            one.name: values.pop(one.name)
            if _OPTION in one.metadata
            else _collect(get_type_hints(group)[one.name], values)
            for one in fields(group)
        }
    )
