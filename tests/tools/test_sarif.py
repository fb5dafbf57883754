"""What `make scan SARIF=…` writes for an upload quotes no code, whatever checkov found in it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.plans import ROOT
from tools import sarif

FAULTY = """
resource "aws_db_instance" "main" {
  password = "an-example-no-secret"
}

resource "aws_lambda_function" "main" {
  environment {
    variables = { DATABASE_URL = "postgresql://app:an-example-no-secret@app.example.com/app" }
  }
}
"""


@pytest.fixture(scope="module")
def quoting(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of checkov's own on code that holds passwords."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "main.tf").write_text(FAULTY)
    report = folder / "checkov.sarif"
    checkov = ROOT / ".venv" / "checkov" / "bin" / "checkov"
    options = ["--quiet", "--compact", "--skip-download", "--framework=terraform"]
    outputs = ["--output=cli", "--output=sarif", f"--output-file-path=console,{report}"]
    subprocess.run([checkov, *options, *outputs, f"--directory={folder}"], check=False, capture_output=True)
    return report.read_text()


@pytest.fixture
def reports(quoting: str, tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "quoting.sarif", tmp_path / "report.sarif"
    source.write_text(quoting)
    return source, target


def test_no_line_of_code_is_in_the_report(reports: tuple[Path, Path]) -> None:
    source, target = reports
    assert "an-example-no-secret" in source.read_text(), "checkov quotes no code any more: this tool can go"
    assert sarif.main([str(source), str(target)]) is None
    assert "an-example-no-secret" not in target.read_text()
    assert "snippet" not in target.read_text()


def test_what_was_found_and_where_remains(quoting: str, reports: tuple[Path, Path]) -> None:
    source, target = reports
    sarif.main([str(source), str(target)])

    def found(text: str) -> list[tuple[Any, ...]]:
        [run] = json.loads(text)["runs"]
        places = [(result, result["locations"][0]["physicalLocation"]) for result in run["results"]]
        return [
            (result["ruleId"], result["message"], place["artifactLocation"], place["region"]["startLine"])
            for result, place in places
        ]

    assert found(target.read_text()) == found(quoting) != []


def test_the_quoting_report_does_not_stay(reports: tuple[Path, Path]) -> None:
    source, target = reports
    sarif.main([str(source), str(target)])
    assert not source.exists()


def test_what_is_no_report_is_not_passed_on(reports: tuple[Path, Path]) -> None:
    source, target = reports
    source.write_text("password = 'an-example-no-secret'")
    assert "is no SARIF report" in str(sarif.main([str(source), str(target)]))
    assert "There is no" in str(sarif.main([str(source), str(target)]))
    assert not target.exists()


def test_the_report_is_masked_also_when_the_scan_fails() -> None:
    """CI uploads the report always."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    [scan] = [line for line in makefile.splitlines() if "--output sarif" in line]
    written, masked = scan.split("|| status=$$?;")
    assert "console$(comma)$(OUTPUT)/checkov.sarif" in written
    assert "-m tools.sarif $(OUTPUT)/checkov.sarif" in masked
    assert scan.rstrip().endswith("exit $$status")
