"""The modules' own tests, which users run with `terraform test`, pass."""

import os
import shutil
from pathlib import Path

import pytest

from tests import plans

MODULES = sorted({path.parents[1].name for path in plans.ROOT.glob("modules/*/tests/*.tftest.hcl")})


@pytest.mark.parametrize("module", MODULES)
def test_terraform_test_passes(module: str, tmp_path: Path) -> None:
    folder = tmp_path / "modules" / module
    ignored = shutil.ignore_patterns(".terraform*")
    shutil.copytree(plans.ROOT / "modules" / module, folder, symlinks=True, ignore=ignored)
    plans._terraform(folder, "init", input=False, plugin_dir=os.fspath(plans._plugins()))
    said = plans._terraform(folder, "test")
    assert "0 failed" in said
    assert "Success! 0 passed" not in said
