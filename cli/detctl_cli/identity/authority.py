"""A private certificate authority in a folder, and the certificates that it issues: ECDSA P-256, by the library `cryptography`.

Commands import it only when they need it. Importing it raises CliError if the library is not installed.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from detctl_proto.security.credentials import AUTHORITY, CERTIFICATE, KEY

from detctl_cli.errors import CliError
from detctl_cli.identity.folders import read_own, write_private

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise CliError(
        "not-installed",
        "creating certificates needs the package cryptography, which is not installed",
        "pip install 'detctl[ca]'",
    ) from None

AUTHORITY_KEY = "ca.key"
AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 397
_SKEW = datetime.timedelta(minutes=5)  # clocks of machines differ


def make_authority(folder: Path) -> None:
    """Creates `ca.crt` and `ca.key`. Raises CliError if the folder has an authority, on which certificates depend."""
    if (folder / AUTHORITY_KEY).exists() or (folder / AUTHORITY).exists():
        raise CliError("exists", f"{folder} already contains an authority", "choose another folder with --pki")
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("detctl authority")
    builder = _builder(name, name, key, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    write_private(folder / AUTHORITY_KEY, _key_pem(key))
    write_private(folder / AUTHORITY, _certificate_pem(_signed(builder, key)), secret=False)


def issue(authority: Path, folder: Path, name: str, hosts: Sequence[str] = ()) -> None:
    """Writes a new key and certificate of `name` to `folder`, with the authority's certificate, and replaces those that are there.

    hosts: for a server, its names and addresses; empty for a client. Raises CliError.
    """
    signing, issuer = _open(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), issuer.subject, key, CERTIFICATE_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([_alternative(host) for host in (hosts or (name,))]), critical=False
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
    )
    certificate = _certificate_pem(_signed(builder, signing))
    write_private(folder / KEY, _key_pem(key))
    write_private(folder / CERTIFICATE, certificate, secret=False)
    write_private(folder / AUTHORITY, _certificate_pem(issuer), secret=False)


def _open(authority: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = load_pem_private_key(read_own(authority / AUTHORITY_KEY), password=None)
        certificate = x509.load_pem_x509_certificate(read_own(authority / AUTHORITY))
    except (ValueError, TypeError) as problem:
        raise CliError(
            "damaged",
            f"{authority}: {AUTHORITY_KEY} or {AUTHORITY} is not a PEM file: {problem}",
            "restore both from a backup",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CliError(
            "damaged", f"{authority}: {AUTHORITY_KEY} does not belong to {AUTHORITY}", "restore both from a backup"
        )
    return key, certificate


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, SHA256())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
