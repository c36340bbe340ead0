"""detctl machine add NAME"""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from detctl_cli.commands.admin.ca import pki_option
from detctl_cli.commands.admin.token import valid_option
from detctl_cli.commands.options import configured, output_option, service_options, settings
from detctl_cli.exits import Exit


@click.group("machine", cls=click.RichGroup, short_help="Allow a machine to connect.")
def command() -> None:
    """Create the credentials of a machine's agent. `detctl machines` lists the machines.

    Example: detctl machine add gpu1
    """


@command.command("add", short_help="Create a certificate and a token for a machine.")
@click.argument("name")
@output_option("Folder for the credentials. The default is NAME in the folder of --pki.")
@valid_option
@pki_option
@service_options
def add(name: str, output: Path | None, valid_s: float, pki: Path | None) -> Exit:
    """Create a folder with the certificate, key and token of a machine's agent.

    Move the folder to the machine, for example with scp. Its agent needs it.

    Example: detctl machine add gpu1 --coordinator c.example:7450 --tls pki/admin
    """
    from detctl_cli.identity.folders import pki_folder
    from detctl_cli.identity.holders import make_holder

    folder = output or pki_folder(pki) / name
    with configured("detctl ca init prints how to start one") as coordinator:
        info = make_holder(coordinator, "machine", name, folder, pki_folder(pki), valid_s)
    click.echo(f"created {folder}: tls.crt, tls.key, ca.crt, token ({info.token_id})")
    address = settings().config().coordinator
    click.echo(f"next: move it to {name} (mode 0700, owned by the agent's user) and run there:")
    click.echo(f"      detctl-agent --name {name} --coordinator {address} --tls DIR --catalog catalog.toml")
    return Exit.IDENTICAL
