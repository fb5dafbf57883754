from pathlib import Path

import pytest

from tools import docs


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    return tmp_path / "main.tf"


def test_documents_are_up_to_date() -> None:
    assert [path.name for path, text in docs.documents() if path.read_text() != text] == []


FOLDERS = sorted(path.parent for folder in docs.TERRAFORM_FOLDERS for path in docs.ROOT.glob(f"{folder}/*/main.tf"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_module_and_root_has_the_version_constraints_in_a_file_of_its_own(folder: Path) -> None:
    """A link would become an empty or broken file in an archive of the repository."""
    copy = folder / "versions.tf"
    assert not copy.is_symlink()
    assert copy.read_text() == (docs.ROOT / "versions.tf").read_text()


def test_a_link_is_replaced_by_a_file(tmp_path: Path) -> None:
    original, link = tmp_path / "original", tmp_path / "link"
    original.write_text("text")
    link.symlink_to(original)
    assert not docs.is_current(link, "text")
    assert docs.is_current(original, "text")
    assert not docs.is_current(original, "other text")


def test_check_names_stale_copies_and_docs_writes_them(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = source.parent
    monkeypatch.setattr(docs, "SKIPS", root / "SKIPS.md")
    (root / "SKIPS.md").write_text(docs.register_of_skips([]))
    (root / "versions.tf").write_text("terraform {}\n")
    module = root / "modules" / "main"
    module.mkdir(parents=True)
    (module / "main.tf").write_text("")
    (module / "versions.tf").symlink_to("../../versions.tf")
    monkeypatch.setattr("sys.argv", ["docs", "--check"])
    with pytest.raises(SystemExit, match=r"^Stale: modules/main/versions.tf\. Run make docs\.$"):
        docs.main()
    monkeypatch.setattr("sys.argv", ["docs"])
    docs.main()
    assert not (module / "versions.tf").is_symlink()
    assert (module / "versions.tf").read_text() == "terraform {}\n"
    assert (root / "versions.tf").read_text() == "terraform {}\n"


def test_skip_is_registered_with_its_resource_and_reason(source: Path) -> None:
    source.write_text('resource "aws_vpc" "main" {\n  # checkov:skip=CKV_AWS_1:No need | none.\n}\n')
    assert "| .: `aws_vpc.main` | CKV_AWS_1 | No need \\| none. |" in docs.register_of_skips([source])


@pytest.mark.parametrize("skip", ["checkov:skip=CKV_AWS_1", "checkov:skip=CKV_AWS_1: "])
def test_skip_without_a_reason_is_refused(source: Path, skip: str) -> None:
    source.write_text(f'resource "aws_vpc" "main" {{\n  # {skip}\n}}\n')
    with pytest.raises(docs.DocumentError, match="2: a skip needs a reason"):
        docs.register_of_skips([source])
