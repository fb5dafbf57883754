"""The bill of materials: valid CycloneDX, and true of the files beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


@pytest.fixture
def sbom(layer: Path) -> Any:
    return json.loads((layer / "sbom.cdx.json").read_text())


def test_is_valid_cyclonedx(layer: Path) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str((layer / "sbom.cdx.json").read_text()) is None


def test_lists_every_shared_object_and_certificate_as_it_is(layer: Path, sbom: Any) -> None:
    listed = {item["name"]: item["hashes"][0]["content"] for item in sbom["components"] if item["type"] == "file"}
    files = [path for path in layer.rglob("*") if ".so" in path.suffixes or path.suffix == ".pem"]
    assert listed == {
        path.relative_to(layer).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_names_the_libraries_that_scanners_know(sbom: Any) -> None:
    [wheel] = [item for item in sbom["components"] if item["name"] == "psycopg2-binary"]
    assert wheel["purl"] == f"pkg:pypi/psycopg2-binary@{wheel['version']}"
    inside = {item["name"]: item for item in wheel["components"]}
    assert inside["openssl"]["version"].startswith("3.")
    assert inside["postgresql"]["version"] == "17"
    assert inside["krb5-libs"]["purl"].startswith("pkg:rpm/")
