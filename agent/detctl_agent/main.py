"""`detctl-agent`: the daemon, and two commands beside it. The only place that prints errors and picks exit codes."""

from __future__ import annotations

import sys
from importlib import import_module

import click
from detctl_proto.redaction import redact_text

from detctl_agent.errors import AgentError
from detctl_agent.launcher.prctl import close_proc

EXIT_TROUBLE = 2
_COMMANDS = ("check", "health", "record", "run", "serve")


class _Group(click.Group):
    """Finds a command NAME as `NAME` in detctl_agent/commands/NAME.py when it is asked for: a recording would wait for what only
    the daemon needs. `detctl-agent --name …` is `detctl-agent serve --name …`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"detctl_agent.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in _COMMANDS and args[0] not in ("-h", "--help", "--version"):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="detctl", prog_name="detctl-agent")
def cli() -> None:
    """Runs trainings of its own catalog for a coordinator, and keeps and sends what their probes say.

    Without a command: serve.
    """


def main() -> None:
    """Entry of the console script."""
    close_proc()  # a training of the same user must not find a token or a key in this process
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_TROUBLE)
    except click.exceptions.Abort:
        sys.exit(130)
    except AgentError as error:
        print(f"detctl-agent: {redact_text(str(error))}", file=sys.stderr)  # noqa: T201 - see the module's text
        sys.exit(EXIT_TROUBLE)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
