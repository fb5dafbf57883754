"""The roots that a connection is verified against: few in a file, because libpq reads all of them on every connect."""

import hashlib
import re
from collections import defaultdict
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

_SOURCES = Path(__file__).parent / "certificates"

# https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem, as published.
_RDS_BUNDLE_SHA256 = "e5bb2084ccf45087bda1c9bffdea0eb15ee67f0b91646106e466714f9de3c7e3"
_RDS_ROOT = re.compile(r"Amazon RDS ([a-z]+(?:-[a-z]+)+-\d+) Root CA \w+ G1")  # not the Beta and Preview roots

_AMAZON_ROOTS_SHA256 = {
    "Amazon Root CA 1": "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
    "Amazon Root CA 2": "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
    "Amazon Root CA 3": "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
    "Amazon Root CA 4": "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
}


class CertificateError(Exception):
    """The certificates in build/certificates are not the ones that were reviewed."""


def write_certificates(folder: Path, sources: Path = _SOURCES) -> None:
    """Write amazon-trust-services.pem (for a proxy) and rds-<region>.pem (for an instance)."""
    folder.mkdir(parents=True)
    _write(folder / "amazon-trust-services.pem", _amazon_roots(sources / "amazon-trust-services.pem"))
    for region, roots in _rds_roots(sources / "rds-global-bundle.pem").items():
        _write(folder / f"rds-{region}.pem", roots)


def _amazon_roots(path: Path) -> list[x509.Certificate]:
    roots = x509.load_pem_x509_certificates(path.read_bytes())
    if {_name(root): root.fingerprint(SHA256()).hex() for root in roots} != _AMAZON_ROOTS_SHA256:
        raise CertificateError(f"{path.name} does not hold exactly the Amazon Root CAs 1 to 4.")
    return roots


def _rds_roots(path: Path) -> dict[str, list[x509.Certificate]]:
    bundle = path.read_bytes()
    if hashlib.sha256(bundle).hexdigest() != _RDS_BUNDLE_SHA256:
        raise CertificateError(f"{path.name} is not the reviewed bundle: review the new one, then change its checksum.")
    regions = defaultdict(list)
    for certificate in x509.load_pem_x509_certificates(bundle):
        if root := _RDS_ROOT.fullmatch(_name(certificate)):
            regions[root[1]].append(certificate)
    return regions


def _name(certificate: x509.Certificate) -> str:
    [attribute] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(attribute.value)


def _write(path: Path, roots: list[x509.Certificate]) -> None:
    pem = (f"# {_name(root)}\n{root.public_bytes(Encoding.PEM).decode()}" for root in sorted(roots, key=_name))
    path.write_text("".join(pem), encoding="ascii", newline="\n")
