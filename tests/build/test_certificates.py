"""The roots in the layer: those of one endpoint, and none that was not reviewed."""

import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from build.certificates import CertificateError, write_certificates
from tests.build.project import ROOT


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layer") / "certificates"
    write_certificates(folder)
    return folder


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "build" / "certificates", tmp_path / "sources")


def load(path: Path) -> dict[str, x509.Certificate]:
    return {
        root.subject.rfc4514_string().split("CN=")[1].split(",")[0]: root
        for root in x509.load_pem_x509_certificates(path.read_bytes())
    }


def test_the_proxys_file_holds_amazon_root_ca_1_to_4(certificates: Path) -> None:
    roots = load(certificates / "amazon-trust-services.pem")
    assert [*roots] == [f"Amazon Root CA {number}" for number in range(1, 5)]
    assert roots["Amazon Root CA 1"].fingerprint(SHA256()).hex().startswith("8ecde6884f3d87b1")


def test_a_regions_file_holds_its_three_roots_alone(certificates: Path) -> None:
    kinds = ("ECC384", "RSA2048", "RSA4096")
    regions = [path.stem.removeprefix("rds-") for path in certificates.glob("rds-*.pem")]
    assert {"us-east-1", "eu-central-1", "ap-southeast-6"} <= set(regions)
    for region in regions:
        roots = load(certificates / f"rds-{region}.pem")
        assert [*roots] == [f"Amazon RDS {region} Root CA {kind} G1" for kind in kinds]
        for root in roots.values():
            root.verify_directly_issued_by(root)


def test_no_published_root_is_left_out_but_beta_and_preview(certificates: Path) -> None:
    published = load(ROOT / "build" / "certificates" / "rds-global-bundle.pem")
    shipped = {name for path in certificates.glob("rds-*.pem") for name in load(path)}
    assert {name.split()[2] for name in published.keys() - shipped} == {"Beta", "Preview"}


def test_openssl_reads_every_file(certificates: Path) -> None:
    for path in certificates.iterdir():
        assert ssl.create_default_context(cafile=str(path)).cert_store_stats()["x509_ca"] in {3, 4}


def test_a_changed_bundle_is_refused(sources: Path, tmp_path: Path) -> None:
    with (sources / "rds-global-bundle.pem").open("a") as bundle:
        bundle.write((sources / "amazon-trust-services.pem").read_text())
    with pytest.raises(CertificateError, match="not the reviewed bundle"):
        write_certificates(tmp_path / "certificates", sources)


def test_a_root_too_many_is_refused(sources: Path, tmp_path: Path) -> None:
    with (sources / "amazon-trust-services.pem").open("a") as roots:
        roots.write((sources / "rds-global-bundle.pem").read_text())
    with pytest.raises(CertificateError, match="exactly the Amazon Root CAs"):
        write_certificates(tmp_path / "certificates", sources)
