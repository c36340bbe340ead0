"""detctl ca init, detctl ca server"""

from __future__ import annotations

import secrets
from pathlib import Path

import rich_click as click
from detctl_proto.addresses import DEFAULT_PORT, join_address

from detctl_cli.errors import UsageError
from detctl_cli.exits import Exit

pki_option = click.option(
    "--pki",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where authority and certificates lie; $XDG_CONFIG_HOME/detctl/pki.",
)


@click.group("ca", cls=click.RichGroup, short_help="Make a certificate authority, and the coordinator's certificate.")
def command() -> None:
    """Off loopback every caller shows a certificate and a token; here their authority is made.

    Example: detctl ca init --server coordinator.example --server 10.0.0.5
    """


@command.command("init", short_help="An authority, a coordinator's certificate, an administrator's.")
@click.option(
    "--server", "hosts", metavar="HOST", multiple=True, required=True, help="Name or address by which it is called."
)
@pki_option
def init(hosts: tuple[str, ...], pki: Path | None) -> Exit:
    """Make an authority, the coordinator's certificate and an administrator's. Keep the folder `ca` to yourself.

    Example: detctl ca init --server coordinator.example
    """
    from detctl_proto.credentials import TOKEN

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
    click.echo(f"made {root}")
    click.echo(
        f"next: detctl-coordinator --listen 0.0.0.0:{DEFAULT_PORT} --tls {root / folders.SERVER} --store redis://…"
    )
    click.echo(f"then: detctl --coordinator {_address(hosts[0])} --tls {root / folders.ADMIN} machine add gpu1")
    return Exit.IDENTICAL


@command.command("server", short_help="A new certificate for a coordinator.")
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path), help="Default: PKI/server.")
@pki_option
def server(hosts: tuple[str, ...], output: Path | None, pki: Path | None) -> Exit:
    """Make or renew a coordinator's certificate; a coordinator that runs takes it with the next connection.

    Example: detctl ca server coordinator.example 10.0.0.5
    """
    from detctl_cli.identity import folders
    from detctl_cli.identity.authority import issue

    _check(hosts)
    root = folders.pki_folder(pki)
    folder = output or root / folders.SERVER
    issue(root / folders.AUTHORITY, folder, hosts[0], hosts)
    click.echo(f"made {folder}: tls.crt, tls.key, ca.crt")
    return Exit.IDENTICAL


def _check(hosts: tuple[str, ...]) -> None:
    for host in hosts:
        if not host or not host.isascii() or (any(char in host for char in "/@ ,:") and host.count(":") < 2):
            raise UsageError(f"{host!r} is no host name or address", "without scheme and port: coordinator.example")


def _address(host: str) -> str:
    return join_address(host, DEFAULT_PORT)
