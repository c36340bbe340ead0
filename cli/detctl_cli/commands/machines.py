"""detctl machines"""

from __future__ import annotations

import rich_click as click

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.exits import Exit


@click.command("machines", short_help="List the machines that have an agent.")
@json_option
@service_options
def command(as_json: bool) -> Exit:
    """List the machines that have an agent, connected or not, with their recipes and environments.

    Example: detctl machines
    """
    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.reporters import lists
    from detctl_cli.terminal import console, write_json

    with service() as coordinator:
        machines = [lists.machine_row(info) for info in coordinator.machines(ListRequest())]
    if as_json:
        write_json({"schema": "detctl.machines/v1", "machines": machines})
    else:
        lists.print_machines(machines, console())
    return Exit.IDENTICAL
