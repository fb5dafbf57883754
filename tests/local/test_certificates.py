"""The certificates, judged by OpenSSL in its strict mode."""

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from local.certificates import Authority, Certificates

HOST = "app-prod.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_a_client_that_trusts_the_authority_accepts_the_host(certificates: Certificates) -> None:
    assert _handshake(certificates, issuer="proxy", trusted="proxy", asked=HOST) == HOST


def test_the_other_authority_is_not_trusted(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get|self.signed|signature failure"):
        _handshake(certificates, issuer="proxy", trusted="rds", asked=HOST)


@pytest.mark.parametrize("asked", ["other" + HOST, "sub." + HOST, HOST.partition(".")[2]])
def test_another_host_name_is_refused(certificates: Certificates, asked: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _handshake(certificates, issuer="proxy", trusted="proxy", asked=asked)


def test_a_name_longer_than_a_common_name_may_be_is_fine(certificates: Certificates) -> None:
    host = "a" * 63 + "." + HOST
    assert _handshake(certificates, issuer="rds", trusted="rds", host=host, asked=host) == host


def test_only_the_owner_reads_a_key_even_when_it_replaces_one(certificates: Certificates) -> None:
    files = certificates.host("rds", HOST)
    files.key.chmod(0o644)
    files = certificates.host("rds", HOST)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_no_key_of_an_authority_is_written(tmp_path: Path) -> None:
    Certificates(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["proxy.pem", "rds.pem"]


def _handshake(
    certificates: Certificates, *, issuer: Authority, trusted: Authority, asked: str, host: str = HOST
) -> str:
    """Return the one DNS name of the certificate that a strict client accepted."""
    files = certificates.host(issuer, host)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    client = ssl.create_default_context(cafile=str(certificates.ca_file(trusted)))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(far, server_side=True).close()
        except (ssl.SSLError, OSError):
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=asked) as connection:
            certificate = connection.getpeercert()
    finally:
        near.close()
        thread.join()
    assert certificate is not None
    names = certificate["subjectAltName"]
    assert isinstance(names, tuple)
    assert len(names) == 1
    return str(names[0][1])
