"""The layer's bill of materials (CycloneDX): its libraries, what their wheels carry inside, and the files at stake.

Beside it go the texts of the licences, which whoever hands the layer on must hand on with it.
"""

import hashlib
import json
import re
import shutil
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

LICENSES = Path(__file__).parent / "licenses"

_Component = dict[str, Any]

_OPENSSL = re.compile(rb"OpenSSL (\d+\.\d+\.\d+\w*) ")

# By version of psycopg2: what its makers compiled into its wheels, of which the files do not say it in words.
# OpenLDAP's is in scripts/build/build_libpq.sh of the source; both are what PQlibVersion() and ldap_get_option() say.
_COMPILED = {"2.9.13": {"postgresql": "17.11", "openldap": "2.6.14"}}

# By library: its licence's SPDX identifier, or the name of one that SPDX has none for. Each has its text in LICENSES.
_LICENSES = {
    "cyrus-sasl-lib": "Cyrus-SASL",
    "keyutils-libs": "LGPL-2.0-or-later",
    "krb5-libs": "Kerberos",
    "libcom_err": "com_err",
    "libselinux": "libselinux",
    "libxcrypt": "LGPL-2.1-or-later",
    "openldap": "OLDAP-2.8",
    "openssl": "Apache-2.0",
    "openssl-libs": "OpenSSL",
    "pcre": "BSD-3-Clause",
    "pcre2": "BSD-3-Clause",
    "postgresql": "PostgreSQL",
    "psycopg2-binary": "LGPL-3.0-or-later",
}
_NOT_IN_SPDX = {"Cyrus-SASL", "Kerberos", "com_err", "libselinux"}


class SbomError(Exception):
    """The bill would leave out what is in the layer."""


def write_sbom(path: Path, tree: Path, *, name: str) -> None:
    """Write what the layer below `tree` carries; no serial number and no time, so that it is the same every time."""
    objects = sorted(file for file in tree.glob("python/**/*") if ".so" in file.suffixes)
    [psycopg2] = distributions(path=[str(tree / "python")])
    libraries = _vendored(psycopg2, objects)
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "library", "name": name}},
        "components": [
            {"type": "library", "name": "lambda_postgres", "licenses": [{"license": {"id": "Apache-2.0"}}]},
            _library(psycopg2.name, psycopg2.version, f"pkg:pypi/{psycopg2.name}@{psycopg2.version}")
            | {"components": libraries},
            *(_file(file, tree) for file in [*objects, *sorted(tree.glob("certificates/*.pem"))]),
        ],
    }
    path.write_text(json.dumps(sbom, indent=1) + "\n", encoding="ascii", newline="\n")
    folder = path.with_name("licenses")
    folder.mkdir()
    for license_name in sorted(
        {_LICENSES[library] for library in [psycopg2.name, *(item["name"] for item in libraries)]}
    ):
        shutil.copyfile(LICENSES / f"{license_name}.txt", folder / f"{license_name}.txt")


def _vendored(wheel: Distribution, objects: list[Path]) -> list[_Component]:
    """Return the libraries inside a wheel: from its own bill of materials, and those that its makers compiled."""
    if wheel.version not in _COMPILED:
        raise SbomError(
            f"build/sbom.py does not know what {wheel.name} {wheel.version} has inside: add the versions of libpq and"
            " OpenLDAP, and look at its licences."
        )
    listed = json.loads(wheel.read_text("sboms/auditwheel.cdx.json") or '{"components": []}')["components"]
    packages = {item["purl"]: item for item in listed if not item["purl"].startswith("pkg:pypi/")}
    libraries = [_library(item["name"], item["version"], purl) for purl, item in sorted(packages.items())]

    openssl = {version.decode() for file in objects for version in _OPENSSL.findall(file.read_bytes())}
    compiled = {("openssl", version) for version in openssl} | set(_COMPILED[wheel.version].items())
    for name, version in sorted(compiled):
        if not any(library["version"].startswith(f"{version}-") for library in libraries):
            libraries.append(_library(name, version, f"pkg:generic/{name}@{version}"))
    return libraries


def _library(name: str, version: str, purl: str) -> _Component:
    if name not in _LICENSES:
        raise SbomError(f"build/sbom.py knows no licence of {name} {version}: add it, and its text to build/licenses.")
    license_name = _LICENSES[name]
    known_as = "name" if license_name in _NOT_IN_SPDX else "id"
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{"license": {known_as: license_name}}],
    }


def _file(path: Path, tree: Path) -> _Component:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = path.relative_to(tree).as_posix()
    return {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
