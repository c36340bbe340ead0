"""detctl ca init, detctl ca server"""

from __future__ import annotations

import secrets
from pathlib import Path

import rich_click as click
from detctl_proto.addresses import DEFAULT_PORT, join_address

from detctl_cli.commands.options import output_option
from detctl_cli.errors import UsageError
from detctl_cli.exits import Exit

pki_option = click.option(
    "--pki",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the authority and its certificates. The default is $XDG_CONFIG_HOME/detctl/pki.",
)


@click.group("ca", cls=click.RichGroup, short_help="Create a certificate authority and the coordinator's certificate.")
def command() -> None:
    """Create the certificate authority of a coordinator that other hosts use, and the coordinator's certificate.

    A caller from another host needs a certificate of this authority and a token.

    Example: detctl ca init --server coordinator.example --server 10.0.0.5
    """


@command.command("init", short_help="Create an authority, and certificates for a coordinator and an administrator.")
@click.option(
    "--server",
    "hosts",
    metavar="HOST",
    multiple=True,
    required=True,
    help="Name or address under which callers reach the coordinator. Repeat the option for several.",
)
@pki_option
def init(hosts: tuple[str, ...], pki: Path | None) -> Exit:
    """Create an authority, a certificate for the coordinator and one for an administrator. Keep the folder `ca` secret.

    Example: detctl ca init --server coordinator.example
    """
    from detctl_proto.security.credentials import TOKEN

    from detctl_cli.identity import folders
    from detctl_cli.identity.authority import issue, make_authority

    _check(hosts)
    root = folders.pki_folder(pki)
    make_authority(root / folders.AUTHORITY)
    issue(root / folders.AUTHORITY, root / folders.SERVER, hosts[0], hosts)
    issue(root / folders.AUTHORITY, root / folders.ADMIN, folders.ADMIN)
    token = secrets.token_urlsafe(32).encode() + b"\n"
    for place in (folders.SERVER, folders.ADMIN):
        folders.write_private(root / place / TOKEN, token)
    click.echo(f"created {root}")
    click.echo(
        f"next: detctl-coordinator --listen 0.0.0.0:{DEFAULT_PORT} --tls {root / folders.SERVER} --store redis://…"
    )
    click.echo(
        f"then: detctl --coordinator {join_address(hosts[0], DEFAULT_PORT)} --tls {root / folders.ADMIN} machine add gpu1"
    )
    return Exit.IDENTICAL


@command.command("server", short_help="Create or renew a certificate for a coordinator.")
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@output_option("Folder for the certificate. The default is `server` in the folder of --pki.")
@pki_option
def server(hosts: tuple[str, ...], output: Path | None, pki: Path | None) -> Exit:
    """Create or renew a coordinator's certificate. HOST is a name or address under which callers reach it.

    A running coordinator uses the new certificate from the next connection on.

    Example: detctl ca server coordinator.example 10.0.0.5
    """
    from detctl_cli.identity import folders
    from detctl_cli.identity.authority import issue

    _check(hosts)
    root = folders.pki_folder(pki)
    folder = output or root / folders.SERVER
    issue(root / folders.AUTHORITY, folder, hosts[0], hosts)
    click.echo(f"created {folder}: tls.crt, tls.key, ca.crt")
    return Exit.IDENTICAL


def _check(hosts: tuple[str, ...]) -> None:
    for host in hosts:
        if not host or not host.isascii() or (any(char in host for char in "/@ ,:") and host.count(":") < 2):
            raise UsageError(
                f"{host!r} is not a host name or an address", "leave scheme and port out: coordinator.example"
            )
