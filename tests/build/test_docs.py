from pathlib import Path

import pytest

from build import docs


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    return tmp_path / "main.tf"


def test_documents_are_up_to_date() -> None:
    assert [path.name for path, text in docs.documents() if path.read_text() != text] == []


def test_skip_is_registered_with_its_resource_and_reason(source: Path) -> None:
    source.write_text('resource "aws_vpc" "main" {\n  # checkov:skip=CKV_AWS_1:No need | none.\n}\n')
    assert "| .: `aws_vpc.main` | CKV_AWS_1 | No need \\| none. |" in docs.register_of_skips([source])


@pytest.mark.parametrize("skip", ["checkov:skip=CKV_AWS_1", "checkov:skip=CKV_AWS_1: "])
def test_skip_without_a_reason_is_refused(source: Path, skip: str) -> None:
    source.write_text(f'resource "aws_vpc" "main" {{\n  # {skip}\n}}\n')
    with pytest.raises(docs.DocumentError, match="2: a skip needs a reason"):
        docs.register_of_skips([source])
