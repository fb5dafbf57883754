"""Certificates of the local stack: two authorities, as AWS has two, and what they sign.

RDS Proxy presents certificates of Amazon Trust Services, an instance presents one of the RDS authorities. A client that
trusts the wrong one is refused here as it is there. The authorities live as long as this object: their keys are never
written, so nothing that outlives the stack can be used to sign another host.
"""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Authority = Literal["proxy", "rds"]

_TITLES: dict[Authority, str] = {
    "proxy": "Local stand-in for Amazon Trust Services",
    "rds": "Local stand-in for the RDS authority",
}
_CLOCK_SKEW = datetime.timedelta(minutes=5)
_LIFETIME = datetime.timedelta(days=365)


@dataclass(frozen=True)
class HostCertificate:
    """Files that a server presents for one host name."""

    certificate: Path
    key: Path


class Certificates:
    """Make both authorities in `folder`, where clients find `proxy.pem` and `rds.pem`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._authorities = {kind: _make_authority(title) for kind, title in _TITLES.items()}
        for kind, (certificate, _) in self._authorities.items():
            self.ca_file(kind).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def ca_file(self, authority: Authority) -> Path:
        """Return what a client passes as sslrootcert."""
        return self._folder / f"{authority}.pem"

    def host(self, authority: Authority, host_name: str, *others: str) -> HostCertificate:
        """Issue a certificate for exactly this host name, and these other names and IP addresses."""
        issuer, issuer_key = self._authorities[authority]
        key = ec.generate_private_key(ec.SECP256R1())
        # The host stands in the alternative name alone: a common name holds 64 characters, an endpoint's may be longer.
        certificate = (
            _builder(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Local stack")]), issuer.subject, key)
            .add_extension(
                x509.SubjectAlternativeName([_alternative_name(name) for name in (host_name, *others)]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
            .sign(issuer_key, hashes.SHA256())
        )
        files = HostCertificate(
            certificate=self._folder / f"{authority}-{host_name}.pem",
            key=self._folder / f"{authority}-{host_name}.key",
        )
        files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_private(
            files.key,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        return files


def _make_authority(title: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # an older file would keep its own permissions
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
