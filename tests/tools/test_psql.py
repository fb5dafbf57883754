"""make psql, on the local stack and on AWS."""

import os
import subprocess
import sys
from pathlib import Path

from local.stack import ROOT
from tests.local.deployment import Deployment


def test_psql_opens_where_the_function_connects(deployment: Deployment) -> None:
    ways = {"through the proxy": deployment.make_proxy(), "by secret": deployment.by_secret()}
    for number, variables in enumerate(ways.values()):
        function = deployment.make_function(f"psql-{number}", variables)
        done = psql(
            deployment, function, "SELECT current_user, count(*) FROM users", LOCAL_STACK=str(deployment.folder)
        )
        assert (done.stdout.splitlines()[-1], done.stderr, done.returncode) == ("app|3", "", 0)


def test_psql_tells_how_on_aws(deployment: Deployment) -> None:
    signs = psql(deployment, deployment.make_function("tells-iam", deployment.direct), "")
    assert f"aws rds generate-db-auth-token --region us-east-1 --hostname {deployment.direct['PGHOST']}" in signs.stdout
    assert "sslmode=verify-full sslrootcert=rds-global-bundle.pem" in signs.stdout
    reads = psql(deployment, deployment.make_function("tells-secret", deployment.by_secret()), "")
    assert f"get-secret-value --region us-east-1 --secret-id {deployment.secret}" in reads.stdout


def test_psql_says_that_the_stack_does_not_lead_there(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{}")
    done = psql(deployment, deployment.make_function("lost", deployment.direct), "", LOCAL_STACK=str(tmp_path))
    assert done.returncode == 1
    assert "does not lead to the database" in done.stderr


def psql(deployment: Deployment, function: str, statement: str, **environment: str) -> subprocess.CompletedProcess[str]:
    arn = deployment.client("lambda").get_function_configuration(FunctionName=function)["FunctionArn"]
    keys = {name: value for name, value in deployment.stack.variables().items() if name != "LOCAL_STACK"}
    return subprocess.run(
        [sys.executable, "-m", "tools.psql", arn],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            **keys,
            "PSQLRC": os.devnull,
            **environment,
        },
        input=f"\\t on\n\\a\n{statement};\n",
        text=True,
        capture_output=True,
        check=False,
    )
