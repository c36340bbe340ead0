"""detctl machines"""

from __future__ import annotations

import rich_click as click

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.errors import CliError
from detctl_cli.exits import Exit

POLL_S = 0.2


@click.command("machines", short_help="List the machines that can train.")
@click.option(
    "--wait",
    "awaited",
    metavar="NAMES",
    default="",
    help="First wait until these machines are connected, such as gpu1,gpu2.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=float,
    default=60,
    show_default=True,
    help="Longest time that --wait waits.",
)
@json_option
@service_options
def command(awaited: str, timeout_s: float, as_json: bool) -> Exit:
    """List the machines that have an agent, with their recipes and environments, whether they are connected or not.

    Example: detctl machines --wait gpu1,gpu2
    """
    import time

    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.lists import write_machines
    from detctl_cli.reporters.rows import machine_row

    names = {name for name in awaited.split(",") if name}
    end = time.monotonic() + timeout_s
    with service() as coordinator:
        while True:
            found = coordinator.machines(ListRequest())
            missing = names - {info.name for info in found if info.connected}
            if not missing:
                break
            if time.monotonic() >= end:
                raise CliError(
                    "timeout",
                    f"after {timeout_s:g} s these machines are not connected: {', '.join(sorted(missing))}",
                    hint="start detctl-agent on them",
                )
            time.sleep(POLL_S)
        machines = [machine_row(info) for info in found]
    if as_json:
        write_json({"schema": "detctl.machines/v1", "machines": machines})
    else:
        write_machines(machines, console())
    return Exit.IDENTICAL
