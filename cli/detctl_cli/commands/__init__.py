"""The command line: a group that imports a command's file when it is asked for."""

from __future__ import annotations

import difflib
from importlib import import_module

import rich_click as click

from detctl_cli.commands.options import Settings

# Order of the help page: the order in which people need them.
_COMMANDS = (
    "audit", "explain", "compare", "zoom", "record", "doctor", "kat", "audits", "runs", "machines", "show", "log", "machine",
    "token", "ca",
)  # fmt: skip
_ADMIN = ("machine", "token", "ca")


class LazyGroup(click.RichGroup):
    """Finds a command NAME as `command` in detctl_cli/commands/NAME.py, or in commands/admin/."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        folder = "detctl_cli.commands.admin" if cmd_name in _ADMIN else "detctl_cli.commands"
        command = import_module(f"{folder}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, _COMMANDS, n=1)
            guess = f"did you mean {near[0]}?" if near else f"commands: {', '.join(_COMMANDS)}"
            raise click.UsageError(f"no such command {name!r}; {guess}", ctx)
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


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.option("--coordinator", metavar="ADDRESS", help="HOST:PORT or unix:PATH; over DETCTL_COORDINATOR and the file.")
@click.option("--token-file", metavar="FILE", help="The coordinator's token; over DETCTL_TOKEN_FILE and the file.")
@click.option("--tls", metavar="DIR", help="Certificate, key, authority, token; over DETCTL_TLS and the file.")
@click.pass_context
def detctl(ctx: click.Context, coordinator: str | None, token_file: str | None, tls: str | None) -> None:
    """Why are two trainings that should be identical not? detctl answers by experiment.

    Exit codes: 0 identical, 1 different, 2 trouble, 3 unverified, 130 interrupted.

    Example: detctl audit -- python train.py --seed 0
    """
    ctx.obj = Settings(coordinator, token_file, tls)
