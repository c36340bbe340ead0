"""Server credentials from a folder. Clients must present a certificate that its authority signed.

If the files are replaced, the next handshake uses the new ones."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc
from detctl_proto.security.credentials import Credentials, CredentialsError, read_folder

log = logging.getLogger(__name__)


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Returns the credentials in `folder`. Raises CredentialsError if the folder is not complete now."""
    current = read_folder(folder)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal current
        try:
            now = read_folder(folder)
        except CredentialsError as error:
            log.warning(
                "event=certificate-kept why=%s", error
            )  # the files are half replaced: keep serving the old ones
            return None
        if now == current:
            return None
        current = now
        log.info("event=certificate-replaced folder=%s", folder)
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(current),
        fetch,  # type: ignore[arg-type]  # None means "unchanged", which the stubs do not know
        require_client_authentication=True,
    )


def _configuration(held: Credentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(held.key, held.certificate)], root_certificates=held.authority)
