"""docs/library.md says which environment variables the library reads, and in which bounds."""

import ast
import re
from pathlib import Path

import lambda_postgres
import pytest
from lambda_postgres import NotConfigured, Settings, errors

from tests.docs.pages import ROOT, rows

PAGE = (ROOT / "docs" / "library.md").read_text()
SOURCES = sorted((ROOT / "lambda" / "layer" / "lambda_postgres").glob("*.py"))
VARIABLE = re.compile(r"(PG|DB_|AWS_)[A-Z_]+")
TABLE = rows(PAGE, "## Environment variables")
NUMBERS = {
    found[0].strip("`"): (int(bounds[1]), int(bounds[2]), found[3])
    for found in TABLE
    if len(found) == 4 and (bounds := re.search(r"from (\d+) to (\d+)", found[2]))
}
FIELDS = {
    "PGPORT": "port",
    "PGCONNECT_TIMEOUT": "connect_timeout_seconds",
    "DB_RETRY_SECONDS": "retry_seconds",
    "DB_MAX_IDLE_SECONDS": "max_idle_seconds",
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """What is required, and nothing else."""
    roots = tmp_path / "roots.pem"
    roots.write_text("")
    given = {"PGHOST": "host", "PGDATABASE": "app", "PGUSER": "app", "AWS_REGION": "us-east-1"}
    return {**given, "PGSSLROOTCERT": str(roots), "DB_AUTH": "iam"}


def test_every_variable_that_is_read_is_documented_and_the_reverse() -> None:
    read = {
        node.value
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value)
    }
    documented = {name for row in TABLE for name in re.findall(r"`([A-Z_]+)`", row[0])}
    assert read == documented


def test_the_required_variables_suffice_and_each_is_needed(environ: dict[str, str]) -> None:
    required = {row[0].strip("`") for row in TABLE if row[-1] == "required"} | {"AWS_REGION"}
    assert required == set(environ)
    Settings.from_environment(environ)
    for name in required:
        with pytest.raises(NotConfigured, match=name):
            Settings.from_environment({key: value for key, value in environ.items() if key != name})


@pytest.mark.parametrize("variable", FIELDS)
def test_default_and_bounds_are_as_documented(variable: str, environ: dict[str, str]) -> None:
    assert NUMBERS.keys() == FIELDS.keys()
    low, high, default = NUMBERS[variable]
    assert str(getattr(Settings.from_environment(environ), FIELDS[variable])) == default
    for value in (low, high):
        assert getattr(Settings.from_environment(environ | {variable: str(value)}), FIELDS[variable]) == value
    for value in (low - 1, high + 1):
        with pytest.raises(NotConfigured, match=variable):
            Settings.from_environment(environ | {variable: str(value)})


def test_the_tree_of_errors_is_the_librarys() -> None:
    drawn = re.findall(r"^    (?:│? *[├└]── )?([A-Z]\w+)", PAGE.partition("\n## Errors\n")[2], re.MULTILINE)
    classes = [name for name in vars(errors) if isinstance(getattr(errors, name), type)]
    assert sorted(drawn) == sorted(name for name in classes if issubclass(getattr(errors, name), errors.Error))


def test_every_public_call_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE))
    classes = {name for name in lambda_postgres.__all__ if isinstance(getattr(lambda_postgres, name), type)}
    assert documented == (set(lambda_postgres.__all__) - classes) | {"Keeper"}
