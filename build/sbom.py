"""The layer's bill of materials (CycloneDX): its libraries, what their wheels carry inside, and the files at stake."""

import hashlib
import json
import re
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

_Component = dict[str, Any]

_OPENSSL = re.compile(rb"OpenSSL (\d+\.\d+\.\d+\w*) ")
_LIBPQ = re.compile(r"libpq-\w+\.so\.5\.(\d+)")


def write_sbom(path: Path, tree: Path, *, name: str) -> None:
    """Write what the layer below `tree` carries; no serial number and no time, so that it is the same every time."""
    objects = sorted(file for file in tree.glob("python/**/*") if ".so" in file.suffixes)
    [psycopg2] = distributions(path=[str(tree / "python")])
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "library", "name": name}},
        "components": [
            {"type": "library", "name": "lambda_postgres"},
            _library(psycopg2.name, psycopg2.version, f"pkg:pypi/{psycopg2.name}@{psycopg2.version}")
            | {"licenses": [{"license": {"name": psycopg2.metadata["License"]}}]}
            | {"components": _vendored(psycopg2, objects)},
            *(_file(file, tree) for file in [*objects, *sorted(tree.glob("certificates/*.pem"))]),
        ],
    }
    path.write_text(json.dumps(sbom, indent=1) + "\n", encoding="ascii", newline="\n")


def _vendored(wheel: Distribution, objects: list[Path]) -> list[_Component]:
    """Return the libraries inside a wheel: from its own bill of materials, and those that its makers compiled."""
    listed = json.loads(wheel.read_text("sboms/auditwheel.cdx.json") or '{"components": []}')["components"]
    packages = {item["purl"]: item for item in listed if not item["purl"].startswith("pkg:pypi/")}
    libraries = [_library(item["name"], item["version"], purl) for purl, item in sorted(packages.items())]

    openssl = {version.decode() for file in objects for version in _OPENSSL.findall(file.read_bytes())}
    postgresql = {match[1] for file in objects if (match := _LIBPQ.fullmatch(file.name))}
    for name, versions in (("openssl", openssl), ("postgresql", postgresql)):
        for version in sorted(versions):
            if not any(library["version"].startswith(f"{version}-") for library in libraries):
                libraries.append(_library(name, version, f"pkg:generic/{name}@{version}"))
    return libraries


def _library(name: str, version: str, purl: str) -> _Component:
    return {"type": "library", "name": name, "version": version, "purl": purl}


def _file(path: Path, tree: Path) -> _Component:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = path.relative_to(tree).as_posix()
    return {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
