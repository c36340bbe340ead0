"""`detctl-agent`: the daemon and its other commands. This is the only place that prints errors and picks exit codes."""

from __future__ import annotations

import sys
from importlib import import_module

from detctl_proto.security.redaction import redact_text

from detctl_agent.errors import AgentError
from detctl_agent.launcher.prctl import close_proc
from detctl_agent.toolkit import HELP_OPTIONS, Group, click

EXIT_TROUBLE = 2
_COMMANDS = ("check", "health", "record", "run", "serve")


class _Group(Group):
    """Imports a command NAME from detctl_agent/commands/NAME.py only when it is used, so that a recording does not wait for the
    daemon's modules. `detctl-agent --name …` means `detctl-agent serve --name …`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"detctl_agent.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in _COMMANDS and args[0] not in (*HELP_OPTIONS, "--version"):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": list(HELP_OPTIONS)})
@click.version_option(package_name="detctl", prog_name="detctl-agent", message="%(prog)s %(version)s")
def cli() -> None:
    """Runs the trainings of this machine's catalog for a coordinator, and sends it their fingerprints.

    Without a command, detctl-agent runs `serve`.

    \b
    Examples:
      detctl-agent check --catalog catalog.toml
      detctl-agent --name gpu1 --coordinator coordinator.example:7450 --tls DIR --catalog catalog.toml
      detctl-agent record -o run1 -- python train.py
    """


def main() -> None:
    """Entry point of the console script."""
    close_proc()  # a training of the same user must not read a token or a key in this process
    try:
        code = cli.main(prog_name="detctl-agent", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_TROUBLE)
    except click.exceptions.Abort:
        sys.exit(130)
    except AgentError as error:
        print(f"detctl-agent: {redact_text(str(error))}", file=sys.stderr)  # noqa: T201 - this module prints errors
        sys.exit(EXIT_TROUBLE)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
