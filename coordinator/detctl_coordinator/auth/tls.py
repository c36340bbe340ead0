"""Server credentials from a folder: clients must show a certificate of its authority; files that were replaced serve the next handshake."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc
from detctl_proto.credentials import Credentials, CredentialsError, read_folder

log = logging.getLogger(__name__)


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Raises CredentialsError where the folder is not complete now."""
    current = read_folder(folder)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal current
        try:
            now = read_folder(folder)
        except CredentialsError as error:
            log.warning("event=certificate-kept why=%s", error)  # half replaced: the old one serves on
            return None
        if now == current:
            return None
        current = now
        log.info("event=certificate-replaced folder=%s", folder)
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(current),
        fetch,  # type: ignore[arg-type]  # None says "as before", which the stubs do not know
        require_client_authentication=True,
    )


def _configuration(held: Credentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(held.key, held.certificate)], root_certificates=held.authority)
