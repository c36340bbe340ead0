"""The command line: a group that imports a command's file when that command is used."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module

import rich_click as click

from detctl_cli.commands.options import service_options

# The panels of the help page, and the commands in each, in the order in which people need them.
_PANELS = {
    "Find out why": ("audit", "explain", "doctor", "kat"),
    "Recordings": ("record", "compare", "zoom"),
    "Service": ("machines", "audits", "runs", "show", "log", "cancel"),
    "Administration": ("machine", "token", "ca"),
    "This machine": ("clean", "completion"),
}
_FOLDERS = {"Administration": "admin", "This machine": "upkeep"}  # of the panels whose commands lie in their own folder
_COMMANDS = tuple(name for names in _PANELS.values() for name in names)
_ALIASES = {"selfcheck": "kat"}


class LazyGroup(click.RichGroup):
    """Finds a command NAME as `command` in detctl_cli/commands/NAME.py, or in a folder of _FOLDERS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = _ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in _COMMANDS:
            return None
        own = [name for panel, name in _FOLDERS.items() if cmd_name in _PANELS[panel]]
        folder = ".".join(["detctl_cli.commands", *own])
        command = import_module(f"{folder}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing:  # the shell completes a line that may be wrong
            return super().resolve_command(ctx, args)
        if name not in (*_COMMANDS, *_ALIASES) and not name.startswith("-"):
            near = difflib.get_close_matches(name, (*_COMMANDS, *_ALIASES), n=1)
            guess = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(_COMMANDS)}"
            raise click.UsageError(f"there is no command {name!r}; {guess}", ctx)
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("detctl")
    except PackageNotFoundError:
        number = "unknown (not installed: running from a source tree)"
    click.echo(f"detctl {number}")
    ctx.exit()


def _command_panels(function: Callable[..., None]) -> Callable[..., None]:
    for title, names in reversed(_PANELS.items()):
        function = click.command_panel(title, commands=list(names), column_types=["name_with_aliases", "help"])(
            function
        )
    return function


_SETTINGS = {
    "help_option_names": ["-h", "--help"],
    # By hand, since click.rich_config imports rich, for which `detctl --version` has no use.
    "rich_help_config": {
        "options_table_column_types": ["required", "opt_short", "opt_long", "metavar_short", "help"],
        "text_paragraph_linebreaks": "\n\n",
        "padding_helptext_first_line": (0, 0, 1, 0),
        "delimiter_comma": ", ",
    },
}


@click.group(cls=LazyGroup, context_settings=_SETTINGS)
@_command_panels
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@service_options
def detctl() -> None:
    """Find out why two trainings that should be identical are not. detctl answers by experiment.

    Exit codes: 0 identical, 1 different, 2 trouble, 3 unverified, 130 interrupted.

    Example: detctl audit -- python train.py --seed 0
    """
