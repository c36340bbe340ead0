"""`detctl-agent`: the daemon, and two commands beside it. The only place that prints errors and picks exit codes."""

from __future__ import annotations

import sys

import click

from detctl_agent.commands.check import check
from detctl_agent.commands.health import health
from detctl_agent.commands.record import record
from detctl_agent.commands.run import run
from detctl_agent.commands.serve import serve
from detctl_agent.errors import AgentError

EXIT_TROUBLE = 2


class _Group(click.Group):
    """`detctl-agent --name …` is `detctl-agent serve --name …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "--version"):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="detctl", prog_name="detctl-agent")
def cli() -> None:
    """Runs trainings of its own catalog for a coordinator, and keeps and sends what their probes say.

    Without a command: serve.
    """


cli.add_command(check)
cli.add_command(health)
cli.add_command(record)
cli.add_command(run)
cli.add_command(serve)


def main() -> None:
    """Entry of the console script."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_TROUBLE)
    except click.exceptions.Abort:
        sys.exit(130)
    except AgentError as error:
        print(f"detctl-agent: {error}", file=sys.stderr)  # noqa: T201 - see the module's text
        sys.exit(EXIT_TROUBLE)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
