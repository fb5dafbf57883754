"""Each example answers through the stand-in for RDS Proxy and is not pinned; none of it is in a plain cold start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from lambda_postgres import psycopg, psycopg_async

ROOT = Path(__file__).parents[4]
EXAMPLES = sorted((ROOT / "examples" / "frameworks").glob("*/handler.py"))
LAYER, FRAMEWORKS = ROOT / "lambda" / "layer", ROOT / "lambda" / "frameworks"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (FRAMEWORKS / "README.md").read_text(), re.DOTALL | re.MULTILINE)
EVENT = {
    "version": "2.0",
    "rawPath": "/users",
    "headers": {},
    "requestContext": {"requestId": "r-1", "stage": "$default", "http": {"method": "GET", "path": "/users"}},
}
_RUN = """
import json, lambda_postgres, sys
lambda_postgres.__path__.append(sys.argv[1])
import handler
class Context:
    aws_request_id = function_name = invoked_function_arn = "1"
    memory_limit_in_mb = 256
    def get_remaining_time_in_millis(self): return 30000
print(json.dumps([handler.handler(json.loads(sys.argv[2]), Context()) for _ in range(3)]))
"""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_answers_through_the_proxy_without_a_pin(example, proxied, proxy):
    environment = {
        **os.environ,
        "PYTHONPATH": f"{example.parent}:{LAYER}",
        "PGHOST": proxied.host,
        "PGPORT": str(proxied.port),
        "PGDATABASE": proxied.database,
        "PGUSER": proxied.user,
        "PGSSLROOTCERT": proxied.ca_file,
        "DB_AUTH": "iam",
        "AWS_REGION": proxied.region,
        "DB_LOG_LEVEL": "DEBUG",
        "POWERTOOLS_METRICS_NAMESPACE": "shop",
    }
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(FRAMEWORKS / "lambda_postgres"), json.dumps(EVENT)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    for answer in answers:
        assert answer["statusCode"] == 200
        assert [user["name"] for user in json.loads(answer["body"])] == [f"user {number}" for number in range(1, 11)]
    assert proxy.metrics().pins == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    assert [line["event"] for line in lines if "event" in line] == ["connected"]
    told = [line["correlation_id"] for line in lines if line.get("message") == "users listed"]
    assert told == (["r-1"] * 3 if example.parent.name == "powertools" else [])
    assert "X-Amz-" not in done.stdout + done.stderr
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr


def test_a_plain_cold_start_imports_nothing_of_it():
    """The layer is imported with everything at hand: the second layer's modules and the packages."""
    code = (
        "import sys, lambda_postgres; lambda_postgres.__path__.append(sys.argv[1])\n"
        "import lambda_postgres.keeper, lambda_postgres.guard, lambda_postgres.aws\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'sqlalchemy', 'psycopg', 'django'}),"
        " [name for name in sys.modules if name.startswith('lambda_postgres.') and not sys.modules[name].__file__"
        ".startswith(sys.argv[2])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(FRAMEWORKS / "lambda_postgres"), str(LAYER)],
        env={**os.environ, "PYTHONPATH": str(LAYER)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[] []\n"


def test_both_layers_have_no_file_of_one_name():
    """The second is unpacked over the first in /opt."""
    first, second = ({path.relative_to(folder) for path in folder.rglob("*.py")} for folder in (LAYER, FRAMEWORKS))
    assert not first & second


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if "def handler" in block], ids=["sqlalchemy", "psycopg", "psycopg_async"]
)
def test_the_code_of_the_page_runs(block):
    namespace = {}
    try:
        exec(compile(block, "block", "exec"), namespace)  # noqa: S102  our own page
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 10_000, aws_request_id="one")
        assert namespace["handler"]({}, context)
    finally:
        psycopg._keeper.cache_clear()
        psycopg_async._keeper.cache_clear()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_requires_what_the_tests_have(example):
    wanted = re.sub(r"\s*#.*", "", (ROOT / "build" / "requirements" / "tools.in").read_text(), flags=re.MULTILINE)
    assert set((example.parent / "requirements.txt").read_text().split()) <= set(wanted.split())
