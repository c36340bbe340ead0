"""Creates the credentials of a machine or person: a certificate of the authority and a token of the coordinator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from detctl_proto.security.credentials import TOKEN

from detctl_cli.identity import folders
from detctl_cli.identity.authority import AUTHORITY_KEY, issue
from detctl_cli.local.places import refuse_full

if TYPE_CHECKING:
    from detctl_proto.v1.admin_pb2 import TokenInfo

    from detctl_cli.service.client import Coordinator


def make_holder(coordinator: Coordinator, role: str, name: str, folder: Path, pki: Path, valid_s: float) -> TokenInfo:
    """Creates tls.crt, tls.key, ca.crt and token in `folder`, which must be empty. Raises CliError."""
    from detctl_proto.v1.admin_pb2 import TokenRequest

    refuse_full(folder)
    folders.read_own(pki / folders.AUTHORITY / AUTHORITY_KEY)  # before a token is created that nobody could use
    made = coordinator.create_token(TokenRequest(role=role, name=name, valid_s=valid_s))
    issue(pki / folders.AUTHORITY, folder, name)
    folders.write_private(folder / TOKEN, made.token.encode() + b"\n")
    return made.info
