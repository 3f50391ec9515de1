"""Certificates for tests: a private authority, and what it signs for servers and clients."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CURVE = ec.SECP256R1()
DAY = timedelta(days=1)


class CertFiles(NamedTuple):
    """A certificate on disk, in PEM."""

    cert_file: Path
    key_file: Path
    both_file: Path
    """Key and certificate in one file."""


@dataclass(frozen=True)
class Authority:
    """A certificate authority that nobody knows but who is given `ca_file`."""

    ca_file: Path
    _folder: Path
    _key: ec.EllipticCurvePrivateKey
    _name: x509.Name

    def issue(
        self, names: Sequence[str], *, client: bool = False, days: int = 30, password: str | None = None
    ) -> CertFiles:
        """A certificate for `names` (host names and addresses); a negative `days` has it expired.

        `client` makes it one for clients; `password` encrypts its key.
        """
        key = ec.generate_private_key(CURVE)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        certificate = (
            _builder(_named(names[0]), self._name, key, days)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        stem = f"{'client' if client else 'server'}-{certificate.serial_number:x}"
        files = CertFiles(*(self._folder / f"{stem}.{kind}" for kind in ("crt", "key", "pem")))
        chain = certificate.public_bytes(serialization.Encoding.PEM)
        files.cert_file.write_bytes(chain)
        files.key_file.write_bytes(_pem(key, password))
        files.both_file.write_bytes(_pem(key, password) + chain)
        return files


def make_ca(folder: Path) -> Authority:
    """A new authority, its files and those it issues in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(CURVE)
    name = _named("authority of the tests")
    certificate = (
        _builder(name, name, key, 365)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(ca_file, folder, key, name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    ends = now + days * DAY
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - DAY)
        .not_valid_after(ends)
    )


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey, password: str | None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
