"""detctl token create, list, rotate, revoke"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from detctl_cli.commands.admin.ca import pki_option
from detctl_cli.commands.options import json_option, output_option, service, service_options
from detctl_cli.errors import UsageError
from detctl_cli.exits import Exit


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    from detctl_cli.output.times import seconds_of

    try:
        return 0.0 if value == "0" else seconds_of(value)
    except ValueError as problem:
        raise UsageError(f"--{param.name}: {problem}") from None


valid_option = click.option(
    "--valid",
    "valid_s",
    metavar="AGE",
    default="365d",
    show_default=True,
    callback=_seconds,
    help="How long the token is valid.",
)


@click.group("token", cls=click.RichGroup, short_help="Manage who may do what: create, list, rotate and revoke tokens.")
def command() -> None:
    """Create, list, rotate and revoke tokens. The role of a token determines what its holder may do.

    A viewer may read. A submitter may also start audits. A machine may report its own runs. An admin may do everything.

    Example: detctl token create --role submitter --name alice -o alice
    """


@command.command("create", short_help="Create a token and, with -o, a certificate.")
@click.option(
    "--role",
    metavar="ROLE",
    type=click.Choice(["viewer", "submitter", "machine", "admin"]),
    required=True,
    help="What the holder may do: viewer, submitter, machine or admin.",
)
@click.option(
    "--name",
    metavar="NAME",
    required=True,
    help="Name of the holder, which is also the common name of the certificate.",
)
@output_option("Also create a certificate, and write both to DIR.")
@valid_option
@pki_option
@json_option
@service_options
def create(role: str, name: str, output: Path | None, valid_s: float, pki: Path | None, as_json: bool) -> Exit:
    """Create a token. Without -o, the token is printed. It is shown only once, because only its digest is stored.

    Example: detctl token create --role viewer --name ci -o ci
    """
    from detctl_proto.v1.admin_pb2 import TokenRequest

    from detctl_cli.identity.folders import pki_folder
    from detctl_cli.identity.holders import make_holder

    with service() as coordinator:
        if output is not None:
            info, text = make_holder(coordinator, role, name, output, pki_folder(pki), valid_s), ""
        else:
            made = coordinator.create_token(TokenRequest(role=role, name=name, valid_s=valid_s))
            info, text = made.info, made.token
    return _show_new(info, text, output, as_json)


@command.command("rotate", short_help="Replace a token by a new one.")
@click.argument("token_id", metavar="ID")
@click.option(
    "--grace",
    "grace_s",
    metavar="AGE",
    default="1h",
    show_default=True,
    callback=_seconds,
    help="How long the old token stays valid. 0 ends it now.",
)
@output_option("Write the token to FILE (mode 0600) instead of printing it.", "FILE")
@valid_option
@json_option
@service_options
def rotate(token_id: str, grace_s: float, output: Path | None, valid_s: float, as_json: bool) -> Exit:
    """Create a new token with the same holder and role. The old one ends after the time of --grace.

    Example: detctl token rotate 3f9a1c20b7d4 -o pki/gpu1/token
    """
    from detctl_proto.v1.admin_pb2 import RotateRequest

    from detctl_cli.identity.folders import write_private

    with service() as coordinator:
        made = coordinator.rotate_token(RotateRequest(token_id=token_id, grace_s=grace_s, valid_s=valid_s))
    if output is not None:
        write_private(output, made.token.encode() + b"\n")
    return _show_new(made.info, "" if output is not None else made.token, output, as_json)


@command.command("revoke", short_help="End a token now.")
@click.argument("token_id", metavar="ID")
@json_option
@service_options
def revoke(token_id: str, as_json: bool) -> Exit:
    """End a token now. Every coordinator refuses it within a second, and ends its open connections.

    Example: detctl token revoke 3f9a1c20b7d4
    """
    from detctl_cli.output.terminal import write_json
    from detctl_cli.reporters.rows import token_row

    with service() as coordinator:
        info = coordinator.revoke_token(token_id)
    if as_json:
        write_json({"schema": "detctl.tokens/v1", "tokens": [token_row(info)]})
    else:
        click.echo(f"revoked {info.token_id} of {info.name} ({info.role})")
    return Exit.IDENTICAL


@command.command("list", short_help="List tokens and their state.")
@click.option("--name", metavar="NAME", default="", help="List only tokens of this holder.")
@json_option
@service_options
def list_(name: str, as_json: bool) -> Exit:
    """List tokens with their holder, role, state and end.

    Example: detctl token list --name gpu1
    """
    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.lists import write_tokens
    from detctl_cli.reporters.rows import token_row

    with service() as coordinator:
        rows = [token_row(info) for info in coordinator.tokens(name)]
    if as_json:
        write_json({"schema": "detctl.tokens/v1", "tokens": rows})
    else:
        write_tokens(rows, console())
    return Exit.IDENTICAL


def _show_new(info: Any, text: str, output: Path | None, as_json: bool) -> Exit:
    from detctl_cli.output.terminal import note, write_json
    from detctl_cli.reporters.rows import token_row

    if as_json:
        write_json({"schema": "detctl.token/v1", **token_row(info), **({"token": text} if text else {})})
        return Exit.IDENTICAL
    place = f": {output}" if output is not None else ""
    note(f"token {info.token_id} of {info.name} ({info.role}){place}")
    if text:
        click.echo(text)
    return Exit.IDENTICAL
