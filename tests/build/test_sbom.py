"""The bill of materials: valid CycloneDX, and true of the files beside it."""

import ctypes
import hashlib
import importlib.metadata
import json
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

import psycopg2
import pytest

from build.sbom import SbomError, write_sbom


@pytest.fixture
def sbom(layer: Path) -> Any:
    return json.loads((layer / "sbom.cdx.json").read_text())


def test_is_valid_cyclonedx(layer: Path) -> None:
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - takes seconds, in each worker
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str((layer / "sbom.cdx.json").read_text()) is None


def test_lists_every_shared_object_and_certificate_as_it_is(layer: Path, sbom: Any) -> None:
    listed = {item["name"]: item["hashes"][0]["content"] for item in sbom["components"] if item["type"] == "file"}
    files = [path for path in layer.rglob("*") if ".so" in path.suffixes or path.suffix == ".pem"]
    assert listed == {
        path.relative_to(layer).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_names_the_libraries_with_their_versions_and_licences(sbom: Any) -> None:
    [own] = [item for item in sbom["components"] if item["name"] == "lambda_postgres"]
    assert own["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    [wheel] = [item for item in sbom["components"] if item["name"] == "psycopg2-binary"]
    assert wheel["purl"] == f"pkg:pypi/psycopg2-binary@{wheel['version']}"
    inside = {item["name"]: item for item in wheel["components"]}
    assert inside["openssl"]["version"].startswith("3.")
    assert inside["krb5-libs"]["purl"].startswith("pkg:rpm/")
    licences = {name: inside[name]["licenses"] for name in ("openssl", "openldap", "krb5-libs", "postgresql")}
    assert licences == {
        "openssl": [{"license": {"id": "Apache-2.0"}}],
        "openldap": [{"license": {"id": "OLDAP-2.8"}}],
        "krb5-libs": [{"license": {"name": "Kerberos"}}],
        "postgresql": [{"license": {"id": "PostgreSQL"}}],
    }


def test_versions_are_what_the_libraries_themselves_say(sbom: Any) -> None:
    """Of the same release of psycopg2 on this machine; its wheels for Linux come from one build script."""
    [folder] = Path(psycopg2.__file__).parents[1].glob("psycopg2_binary.libs")
    answers = {
        "postgresql": _version(psycopg2.extensions.libpq_version(), 10_000, 1),
        "openldap": _version(_ldap_version(next(folder.glob("libldap-*"))), 10_000, 100, 1),
        "openssl": ssl_version(next(folder.glob("libcrypto-*.so.3"))),
    }
    [wheel] = [item for item in sbom["components"] if item["name"] == "psycopg2-binary"]
    assert wheel["version"] == importlib.metadata.version("psycopg2-binary")
    assert {item["name"]: item["version"] for item in wheel["components"] if item["name"] in answers} == answers


def test_the_text_of_every_licence_is_in_the_layer(layer: Path, sbom: Any) -> None:
    [wheel] = [item for item in sbom["components"] if item["name"] == "psycopg2-binary"]
    named = {name for item in [wheel, *wheel["components"]] for name in item["licenses"][0]["license"].values()}
    assert {path.stem for path in (layer / "licenses").iterdir()} == named
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in (layer / "licenses" / "LGPL-3.0-or-later.txt").read_text()
    assert "permission to link this program with the OpenSSL library" in _squeezed(
        next(layer.glob("python/psycopg2_binary-*.dist-info/licenses/LICENSE")).read_text()
    )


def test_a_release_that_nobody_looked_into_is_refused(layer: Path, tmp_path: Path) -> None:
    tree = tmp_path / "layer"
    shutil.copytree(layer / "python", tree / "python")
    [metadata] = tree.glob("python/psycopg2_binary-*.dist-info/METADATA")
    metadata.write_text(re.sub(r"(?m)^Version: .*$", "Version: 2.99.0", metadata.read_text()))
    with pytest.raises(SbomError, match=r"psycopg2-binary 2\.99\.0"):
        write_sbom(tree / "sbom.cdx.json", tree, name="layer")


def ssl_version(library: Path) -> str:
    crypto = ctypes.CDLL(str(library))
    crypto.OpenSSL_version.restype = ctypes.c_char_p
    return str(crypto.OpenSSL_version(0).decode().split()[1])


def _ldap_version(library: Path) -> int:
    class Info(ctypes.Structure):  # LDAPAPIInfo of ldap.h
        _fields_: ClassVar = [
            ("info_version", ctypes.c_int),
            ("api_version", ctypes.c_int),
            ("protocol_version", ctypes.c_int),
            ("extensions", ctypes.c_void_p),
            ("vendor_name", ctypes.c_char_p),
            ("vendor_version", ctypes.c_int),
        ]

    info = Info(info_version=1)
    assert ctypes.CDLL(str(library)).ldap_get_option(None, 0, ctypes.byref(info)) == 0  # LDAP_OPT_API_INFO
    return int(info.vendor_version)


def _version(number: int, *units: int) -> str:
    parts = []
    for unit in units:
        parts.append(number // unit)
        number %= unit
    return ".".join(map(str, parts))


def _squeezed(text: str) -> str:
    return " ".join(text.split())
