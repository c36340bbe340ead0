"""detctl machines"""

from __future__ import annotations

import rich_click as click

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.errors import CliError
from detctl_cli.exits import Exit

POLL_S = 0.2


@click.command("machines", short_help="List the machines that have an agent.")
@click.option("--wait", "awaited", metavar="NAMES", default="", help="First wait until these are connected: gpu1,gpu2.")
@click.option(
    "--timeout", "timeout_s", type=float, default=60, show_default=True, help="Seconds that --wait waits at most."
)
@json_option
@service_options
def command(awaited: str, timeout_s: float, as_json: bool) -> Exit:
    """List the machines that have an agent, connected or not, with their recipes and environments.

    Example: detctl machines --wait gpu1,gpu2
    """
    import time

    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters import lists

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
                    f"not connected after {timeout_s:g} s: {', '.join(sorted(missing))}",
                    hint="start detctl-agent there",
                )
            time.sleep(POLL_S)
        machines = [lists.machine_row(info) for info in found]
    if as_json:
        write_json({"schema": "detctl.machines/v1", "machines": machines})
    else:
        lists.print_machines(machines, console())
    return Exit.IDENTICAL
