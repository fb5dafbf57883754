"""A function of one's own in an environment: what is written down, and what is refused before."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import plans
from tools import own_function
from tools.declaration import OVERRIDE, declaration

ARGUMENTS = ("--arch", "x86_64", "--python", "3.13")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment's folder, and a packager that only writes a file."""

    def make(wanted: own_function.function.Function, output: Path) -> Path:
        package = output / wanted.zip_name
        package.write_text(wanted.handler)
        return package

    for name in ("FUNCTION", "HANDLER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(own_function, "OUTPUT", plans.ROOT / "build" / "output")
    monkeypatch.setattr(own_function.function, "make", make)
    folder = tmp_path / "prod"
    folder.mkdir()
    yield folder
    for path in (plans.ROOT / "build" / "output").glob("function-*own-function-test*.zip"):
        path.unlink()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "own-function-test"
    folder.mkdir()
    return folder


def declare(environment: Path, monkeypatch: pytest.MonkeyPatch, **given: str) -> str | None:
    with monkeypatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        return own_function.main([*ARGUMENTS, str(environment)])


def test_it_is_declared_for_terraform_and_for_the_next_make(
    environment: Path, code: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert declare(environment, monkeypatch, FUNCTION=str(code), HANDLER="app.main") is None
    assert "commit it" in capsys.readouterr().out
    written = (environment / OVERRIDE).read_text()
    module = json.loads(written)["module"]["function"]
    assert re.fullmatch(
        r"\$\{path\.root\}/\.\./\.\./build/output/function-[\w-]+own-function-test\.zip", module["package"]
    )
    assert module["handler"] == "app.main"
    assert declaration(environment)["PYTHON_VERSION"] == "3.13"
    assert declare(environment, monkeypatch) is None  # a make that names no function
    assert "commit it" not in capsys.readouterr().out
    assert (environment / OVERRIDE).read_text() == written


def test_the_sample_leads_back(environment: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(environment, monkeypatch, FUNCTION=str(code), HANDLER="app.main")
    assert declare(environment, monkeypatch, FUNCTION="lambda/function") is None
    assert not (environment / OVERRIDE).exists()


def test_what_cannot_be_packaged_is_not_declared(
    environment: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Path:
        raise own_function.PackageError("app does not import.")

    monkeypatch.setattr(own_function.function, "make", refuse)
    said = declare(environment, monkeypatch, FUNCTION=str(code), HANDLER="app.main")
    assert said
    assert said.endswith(".zip was not made: app does not import.")
    assert not (environment / OVERRIDE).exists()


def test_a_handler_without_a_function_is_refused(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert declare(environment, monkeypatch, HANDLER="app.main") == (
        "HANDLER needs FUNCTION, the folder that it is in."
    )


@pytest.mark.parametrize(("provider", "refused"), [("5.100.0", True), ("6.19.0", True), ("6.20.0", False)])
def test_python_3_14_needs_a_provider_that_knows_it(environment: Path, provider: str, refused: bool) -> None:
    lock = (plans.ROOT / "terraform" / "prod" / ".terraform.lock.hcl").read_text().replace("5.100.0", provider)
    (environment / ".terraform.lock.hcl").write_text(lock)
    said = own_function.main(["--arch", "x86_64", "--python", "3.14", str(environment)])
    assert bool(said) == refused
    assert not refused or "refuses python3.14: it needs aws 6.20 or newer." in str(said)


def test_terraform_merges_the_declaration_into_a_root_as_it_is(
    environment: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(environment, monkeypatch, FUNCTION=str(code), HANDLER="app.main")
    copy = plans.copy_tree()
    [made] = json.loads((environment / OVERRIDE).read_text())["module"].values()
    plans.write_zip(copy / "build" / "output" / Path(made["package"]).name)
    (copy / "terraform" / "dev" / OVERRIDE).write_text((environment / OVERRIDE).read_text())
    monkeypatch.setenv("AWS_ENDPOINT_URL", plans.control_plane())
    plans.terraform(copy / "terraform" / "dev", "get")
    function = plans.plan_folder(copy / "terraform" / "dev")["module.function.aws_lambda_function.main"]
    assert function["handler"] == "app.main"
    assert Path(function["filename"]).name == Path(made["package"]).name
    assert function["reserved_concurrent_executions"] == 20  # what the root says besides is kept


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["FUNCTION=nowhere"], "FUNCTION=nowhere is no folder."),
        (["FUNCTION=examples/users-api"], "has no handler.py: HANDLER=handler.handler names it."),
        (["HANDLER=app.main"], "HANDLER needs FUNCTION"),
        (["PYTHON_VERSION=3.11"], "PYTHON_VERSION must be one of: 3.12 3.13 3.14"),
        (["PYTHON_VERSION=3.14", "ENV=dev"], "refuses python3.14: it needs aws 6.20 or newer."),
    ],
)
def test_make_refuses_in_one_line_and_writes_nothing(given: list[str], said: str) -> None:
    command = ["make", "package", *given]
    # The layer of 3.14 is not at stake: as if it were built.
    skip = ["--assume-old=build/output/layer-python3.14-x86_64.zip"] if "ENV=dev" in given else []
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command + skip, cwd=plans.ROOT, env=own, capture_output=True, text=True, check=False)
    assert done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (plans.ROOT / "terraform" / "dev" / OVERRIDE).exists()
