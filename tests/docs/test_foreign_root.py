"""A root outside this repository calls the modules from git, or from an archive of the repository."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import plans

ADDRESS = "git::https://git.example.com/lambda-rds-proxy.git//modules/"
# Which the root of the README does without; a cluster takes the place of the database.
OPTIONAL = ("cluster", "http", "queue")
MODULES = sorted({path.parent.name for path in plans.ROOT.glob("modules/*/main.tf")} - {*OPTIONAL})
ARCHIVES = ("tar.gz", "zip")
OFFLINE = {"skip_credentials_validation": True, "skip_requesting_account_id": True, "skip_metadata_api_check": True}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with the modules as they are on the disk now, and an archive of it in each format."""
    folder = tmp_path_factory.mktemp("repository") / "lambda-rds-proxy"
    ignored = shutil.ignore_patterns(".terraform*")
    shutil.copytree(plans.ROOT / "modules", folder / "modules", symlinks=True, ignore=ignored)
    shutil.copy(plans.ROOT / "versions.tf", folder)
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for command in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        (*author, "commit", "--quiet", "--no-gpg-sign", "--message=all"),
        *(
            ("archive", "--prefix=lambda-rds-proxy/", f"--output={folder.with_suffix(f'.{kind}')}", "main")
            for kind in ARCHIVES
        ),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(params=["git", *ARCHIVES])
def root(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Path:
    """The root of the README, whose modules come from that repository or one of its archives."""
    [block] = [text for text in _hcl((plans.ROOT / "README.md").read_text()) if ADDRESS in text]
    if request.param == "git":
        text = block.replace(ADDRESS, f"git::file://{repository}//modules/")
    else:
        archive = repository.with_suffix(f".{request.param}")
        text = block.replace(ADDRESS, f"file://{archive}//lambda-rds-proxy/modules/").replace("?ref=main", "")
    assert text.count("source ") == text.count("file://") == len(MODULES)
    (tmp_path / "main.tf").write_text(text)
    (tmp_path / "offline_override.tf.json").write_text(json.dumps({"provider": {"aws": OFFLINE}}))
    for name in ("bootstrap", "function", "layer-x86_64"):
        plans.write_zip(tmp_path / f"{name}.zip")
    plans.terraform(tmp_path, "get")
    return tmp_path


def test_modules_bring_their_version_constraints(root: Path) -> None:
    unpacked = json.loads((root / ".terraform" / "modules" / "modules.json").read_text())["Modules"]
    folders = {module["Key"]: root / module["Dir"] for module in unpacked if module["Key"]}
    assert sorted(folders) == MODULES
    for folder in folders.values():
        assert (folder / "versions.tf").read_text() == (plans.ROOT / "versions.tf").read_text()


@pytest.mark.parametrize("root", ["git"], indirect=True)
def test_the_root_of_the_readme_is_planned(root: Path) -> None:
    plan = plans.plan_folder(root)
    assert plan["module.proxy.aws_db_proxy.main"]["require_tls"] is True
    assert {address.split(".")[1] for address in plan.changes} == set(MODULES)


def _hcl(markdown: str) -> list[str]:
    return re.findall(r"^```hcl\n(.*?)^```$", markdown, re.DOTALL | re.MULTILINE)
