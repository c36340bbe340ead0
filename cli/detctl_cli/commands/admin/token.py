"""detctl token create, list, rotate, revoke"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from detctl_cli.commands.admin.ca import pki_option
from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.errors import UsageError
from detctl_cli.exits import Exit


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    from detctl_cli.output.times import seconds_of

    try:
        return 0.0 if value == "0" else seconds_of(value)
    except ValueError as problem:
        raise UsageError(f"--{param.name}: {problem}") from None


valid_option = click.option(
    "--valid", "valid_s", metavar="AGE", default="365d", show_default=True, callback=_seconds, help="How long it works."
)


@click.group("token", cls=click.RichGroup, short_help="Say who may do what: make, list, rotate and revoke tokens.")
def command() -> None:
    """A viewer may look, a submitter also start audits, a machine speak of its own runs, an admin everything.

    Example: detctl token create --role submitter --name alice -o alice
    """


@command.command("create", short_help="A new token, with a certificate where -o is given.")
@click.option("--role", type=click.Choice(["viewer", "submitter", "machine", "admin"]), required=True)
@click.option("--name", metavar="NAME", required=True, help="Its holder: the common name of the certificate.")
@click.option(
    "-o", "--output", metavar="DIR", type=click.Path(path_type=Path), help="Make a certificate too, all in DIR."
)
@valid_option
@pki_option
@json_option
@service_options
def create(role: str, name: str, output: Path | None, valid_s: float, pki: Path | None, as_json: bool) -> Exit:
    """Make a token. Without -o its text is printed, once: only its digest is kept.

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
    return _tell_new(info, text, output, as_json)


@command.command("rotate", short_help="A new token in place of an old one.")
@click.argument("token_id", metavar="ID")
@click.option(
    "--grace",
    "grace_s",
    metavar="AGE",
    default="1h",
    show_default=True,
    callback=_seconds,
    help="The old one works so long.",
)
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write it there instead, mode 0600."
)
@valid_option
@json_option
@service_options
def rotate(token_id: str, grace_s: float, output: Path | None, valid_s: float, as_json: bool) -> Exit:
    """Make a new token of the same holder and role; the old one ends after --grace (0: now).

    Example: detctl token rotate 3f9a1c20b7d4 -o pki/gpu1/token
    """
    from detctl_proto.v1.admin_pb2 import RotateRequest

    from detctl_cli.identity.folders import write_private

    with service() as coordinator:
        made = coordinator.rotate_token(RotateRequest(token_id=token_id, grace_s=grace_s, valid_s=valid_s))
    if output is not None:
        write_private(output, made.token.encode() + b"\n")
    return _tell_new(made.info, "" if output is not None else made.token, output, as_json)


@command.command("revoke", short_help="End a token now.")
@click.argument("token_id", metavar="ID")
@json_option
@service_options
def revoke(token_id: str, as_json: bool) -> Exit:
    """End a token: on every coordinator within a second, streams under way too.

    Example: detctl token revoke 3f9a1c20b7d4
    """
    from detctl_cli.output.terminal import write_json

    with service() as coordinator:
        info = coordinator.revoke_token(token_id)
    if as_json:
        write_json({"schema": "detctl.tokens/v1", "tokens": [_row(info)]})
    else:
        click.echo(f"revoked {info.token_id} of {info.name} ({info.role})")
    return Exit.IDENTICAL


@command.command("list", short_help="Tokens and what became of them.")
@click.option("--name", metavar="NAME", default="", help="Only this holder's.")
@json_option
@service_options
def list_(name: str, as_json: bool) -> Exit:
    """List tokens: holder, role, and until when they work.

    Example: detctl token list --name gpu1
    """
    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters import lists

    with service() as coordinator:
        rows = [_row(info) for info in coordinator.tokens(name)]
    if as_json:
        write_json({"schema": "detctl.tokens/v1", "tokens": rows})
    else:
        lists.print_tokens(rows, console())
    return Exit.IDENTICAL


def _row(info: Any) -> dict[str, Any]:
    return {
        "id": info.token_id,
        "role": info.role,
        "name": info.name,
        "created_by": info.created_by,
        "created_unix_s": info.created_unix_s,
        "expires_unix_s": info.expires_unix_s,
        "revoked_unix_s": info.revoked_unix_s or None,
    }


def _tell_new(info: Any, text: str, output: Path | None, as_json: bool) -> Exit:
    from detctl_cli.output.terminal import note, write_json

    if as_json:
        write_json({"schema": "detctl.token/v1", **_row(info), **({"token": text} if text else {})})
        return Exit.IDENTICAL
    place = f": {output}" if output is not None else ""
    note(f"token {info.token_id} of {info.name} ({info.role}){place}")
    if text:
        click.echo(text)
    return Exit.IDENTICAL
