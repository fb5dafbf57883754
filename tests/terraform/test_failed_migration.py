"""A failed migration is an error where its user looks: in terraform apply."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

from tests import plans
from tests.local.deployment import OUTPUT, Deployment


def test_a_failed_migration_is_the_error_of_terraform_apply(deployment: Deployment, tmp_path: Path) -> None:
    package = tmp_path / "bootstrap.zip"
    shutil.copy(OUTPUT / "bootstrap.zip", package)
    with zipfile.ZipFile(package, "a") as archive:
        archive.writestr("bootstrap/migrations/9999_broken.sql", "SELECT 1;\nSELECT 1 FROM nowhere;\n")
    deployment.client("lambda").update_function_code(FunctionName=deployment.bootstrap, ZipFile=package.read_bytes())
    invocation = {"function_name": deployment.bootstrap, "input": '{"action": "apply"}'}
    root = {"provider": {"aws": {}}, "resource": {"aws_lambda_invocation": {"apply": invocation}}}
    (tmp_path / "main.tf.json").write_text(json.dumps(root))
    for command in (["init", f"-plugin-dir={plans.installed_provider()}"], ["apply", "-auto-approve"]):
        done = subprocess.run(
            ["terraform", *command, "-input=false", "-no-color"],
            cwd=tmp_path, env=deployment.stack.environment(), text=True, capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "9999_broken.sql:2" in done.stderr
    assert deployment.query("SELECT name FROM bootstrap.app") == [("0001_users.sql",)]
