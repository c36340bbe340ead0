"""detctl machine add NAME"""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from detctl_cli.commands.admin.ca import pki_option
from detctl_cli.commands.admin.token import valid_option
from detctl_cli.commands.options import configured, service_options, settings
from detctl_cli.exits import Exit


@click.group("machine", cls=click.RichGroup, short_help="Let a machine in.")
def command() -> None:
    """Give a machine what its agent shows to the coordinator. `detctl machines` lists those that are there.

    Example: detctl machine add gpu1
    """


@command.command("add", short_help="A certificate and a token for a machine.")
@click.argument("name")
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path), help="Default: PKI/NAME.")
@valid_option
@pki_option
@service_options
def add(name: str, output: Path | None, valid_s: float, pki: Path | None) -> Exit:
    """Make a folder for a machine's agent: certificate, key and token of one name. Move it there, over ssh.

    Example: detctl --coordinator coordinator.example:7450 --tls pki/admin machine add gpu1
    """
    from detctl_cli.identity.folders import pki_folder
    from detctl_cli.identity.holders import make_holder

    folder = output or pki_folder(pki) / name
    with configured("detctl ca init tells how to start one") as coordinator:
        info = make_holder(coordinator, "machine", name, folder, pki_folder(pki), valid_s)
    click.echo(f"made {folder}: tls.crt, tls.key, ca.crt, token ({info.token_id})")
    address = settings().config().coordinator
    click.echo(f"next: move it to {name} (mode 0700, the agent's user), then there:")
    click.echo(f"      detctl-agent --name {name} --coordinator {address} --tls DIR --catalog catalog.toml")
    return Exit.IDENTICAL
