"""What make does with what it is given: refuse the impossible before anything is changed, and mistake no stack."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.aws.control_plane import ControlPlane
from local.lambda_runtime.function import Invocation
from local.record import Record
from tests.local.account import Account, Recorder, running

ROOT = Path(__file__).parents[1]

# Stands in for Terraform where a test asks what make does with it. A plan is a file with a number.
TERRAFORM = r"""#!/bin/bash
home=$(dirname "$0")
printf '%s\n' "$*" >>"$home/calls"
env >"$home/environment"
case "$*" in
*version*) echo '{"terraform_version": "1.11.4", "platform": "test_platform"}' ;;
*"state pull") cat "$home/state" ;;
*" plan "*) for last; do :; done; echo x >>"$home/plans"; wc -l <"$home/plans" >"${last#-out=}"; echo "$last" ;;
*" apply "*) for last; do :; done; cat "$last" >>"$home/applied" ;;
*" output "*) cat "$home/output" ;;
*" show "*) cat "$home/plan" ;;
esac
"""


CHANGED = json.dumps(
    {
        "applyable": True,
        "resource_changes": [
            {
                "address": "module.proxy.aws_db_proxy_target.main",
                "type": "aws_db_proxy_target",
                "mode": "managed",
                "change": {"actions": ["delete"], "before": {}, "after": None},
            }
        ],
    }
)


def make(*arguments: str, tree: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=tree, env=environment(**variables), text=True, capture_output=True, check=False
    )


def environment(**variables: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "AWS_"))}
    return own | variables


@dataclass
class Stack:
    """A control plane with its record, and a Terraform that only tells what it is asked."""

    plane: ControlPlane
    folder: Path
    program: Path

    def make(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return make(*arguments, *self.led_here, **variables)

    @property
    def led_here(self) -> list[str]:
        return [f"LOCAL_STACK={self.folder}", f"TERRAFORM={self.program}"]

    def says(self, name: str) -> str:
        path = self.program.with_name(name)
        return path.read_text() if path.exists() else ""

    def holds(self, *arns: str) -> None:
        """Let the state hold resources with these ARNs."""
        resource = {"mode": "managed", "provider": 'provider["registry.terraform.io/hashicorp/aws"]'}
        instances = [{"attributes": {"arn": arn}} for arn in arns]
        state = {"resources": [{**resource, "instances": instances}]}
        self.program.with_name("state").write_text(json.dumps(state))


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running(ControlPlane(Recorder())) as plane:
        yield plane


@pytest.fixture
def stack(plane: ControlPlane, tmp_path: Path) -> Iterator[Stack]:
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(TERRAFORM)
    program.chmod(0o755)
    program.with_name("state").touch()
    program.with_name("output").write_text("{}")
    program.with_name("plan").write_text(CHANGED)
    folder = tmp_path / "stack"
    (folder / "dev").mkdir(parents=True)
    record = Record(folder)
    assert record.take()
    key = plane.administrator
    record.write(
        {
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": plane.url,
            "LOCAL_STACK": str(folder),
        }
    )
    yield Stack(plane, folder, program)
    record.release()


@pytest.fixture
def old_terraform(tmp_path):
    """A program that answers `terraform version -json` as release 1.10 does, and nothing else."""
    program = tmp_path / "terraform"
    program.write_text("""#!/bin/sh\n[ "$1" = version ] && echo '{"terraform_version": "1.10.5"}'\n""")
    program.chmod(0o755)
    return program


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Path]:
    """A file that a text makes when a shell or make runs it."""
    path = tmp_path / "sprung"
    yield path
    assert not path.exists()


# --- what is given ---


@pytest.mark.parametrize(
    ("target", "env"),
    [
        ("plan", ""),
        ("plan", "staging"),
        ("plan", "dev prod"),
        ("plan", "d%"),
        ("plan", "$(ENVIRONMENTS)"),
        ("deploy", "../dev"),
        ("destroy", ""),
        ("invoke", "dev;"),
    ],
)
def test_an_environment_that_is_none_is_refused_with_the_list(target, env):
    done = make(target, f"ENV={env}")
    assert done.returncode != 0
    assert "ENV must be one of: dev prod aurora aurora-dev" in done.stderr


def test_a_demonstration_that_is_none_is_refused_with_the_list():
    done = make("demo", "-n", "DEMO=dev")
    assert done.returncode != 0
    assert "DEMO must be one of: prod aurora" in done.stderr
    assert "local demo aurora" in make("demo", "-n", "DEMO=aurora").stdout
    assert "aurora" not in make("demo", "-n", DEMO="aurora").stdout  # the command line only


def test_an_example_is_an_environment_with_a_root_and_packages_of_its_own():
    done = make("plan", "-n", "ENV=aurora-dev")
    assert "-chdir=examples/aurora-dev" in done.stdout
    assert "terraform/aurora" not in done.stdout
    for env, made in (("aurora-dev", True), ("dev", False)):
        dry = make("package", "-n", "-W", "build/package.py", f"ENV={env}").stdout
        assert ("FUNCTION=examples/aurora HANDLER=app.main" in dry) is made
        assert ("--migrations examples/aurora/migrations" in dry) is made


@pytest.mark.parametrize("option", [[], ["-e"]])
def test_an_environment_is_named_on_the_command_line_and_nowhere_else(option):
    done = make("destroy", "-n", *option, ENV="prod", AUTO_APPROVE="1")
    assert done.returncode != 0
    assert "Only the command line counts" in done.stderr
    assert "--yes" not in make("destroy", "-n", "ENV=prod", *option, AUTO_APPROVE="1").stdout


@pytest.mark.parametrize(
    "name",
    [
        "ENV",
        "DEMO",
        "ACTION",
        "ARCH",
        "AUTO_APPROVE",
        "OF",
        "FOLLOW",
        "JSON",
        "MIGRATIONS",
        "LOCAL_STACK",
        "EVENT",
        "TERRAFORM",
    ],
)
@pytest.mark.parametrize("text", ["$(shell touch {0})", "x; touch {0}; `touch {0}`; '; touch {0}; '\"; touch {0}; \""])
def test_no_text_that_is_given_is_run(name, text, trap, stack):
    given = {"ENV": "ENV=dev", "TERRAFORM": f"TERRAFORM={stack.program}", "LOCAL_STACK": f"LOCAL_STACK={stack.folder}"}
    if name == "TERRAFORM" and "shell" not in text:
        return  # a program's name is for the shell
    make("invoke", *(given | {name: f"{name}={text.format(trap)}"}).values())


# What make or a shell could change. Only blanks before the first character are lost, on the command line.
EVENT = """{"sql": "id = $1", "all": "$$ $(shell false) ${HOME} `false` $(ENV)",
  "quotes": "it's \\"so\\" # % & | ; <> \\\\",  "spaces":  "ä\\t" } """


@pytest.mark.parametrize("folder", ["a b", "it's"])
def test_a_folder_of_migrations_that_no_recipe_could_hold_is_refused(folder):
    done = make("-n", "package", f"MIGRATIONS={folder}")
    assert "MIGRATIONS must be the path of one folder" in done.stderr


def test_a_folder_of_migrations_adds_a_package_of_its_own():
    command = "-m build.package bootstrap --migrations"
    assert f'{command} "orders/migrations"' in make("-n", "package", "MIGRATIONS=orders/migrations").stdout
    assert command not in make("-n", "package", MIGRATIONS="orders/migrations").stdout  # the command line only


def test_whoever_reads_enough_of_an_answer_sees_no_traceback(stack):
    """As in `make invoke | head -1`."""
    events = stack.plane.events
    stack.program.with_name("output").write_text(Account.of(stack.plane).function("piped")["FunctionArn"])
    events.answer = lambda *_: Invocation("1", json.dumps(["line"] * 100_000).encode(), None, "")
    command = f"make invoke ENV=dev {' '.join(stack.led_here)} | head -1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment(), text=True, capture_output=True, check=False
    )
    assert done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("way", ["command line", "environment"])
def test_an_event_reaches_the_function_byte_for_byte(stack, way):
    events = stack.plane.events
    stack.program.with_name("output").write_text(Account.of(stack.plane).function(way.split()[0])["FunctionArn"])
    events.payloads = []
    events.answer = lambda _, payload: events.payloads.append(payload) or Invocation("1", b"{}", None, "")
    on_command_line = [f"EVENT={EVENT}"] if way == "command line" else []
    done = stack.make("invoke", "ENV=dev", *on_command_line, EVENT="not this" if on_command_line else EVENT)
    assert done.returncode == 0, done.stderr
    assert events.payloads == [EVENT.encode()]


def test_a_folder_with_a_space_is_refused_in_one_sentence(tmp_path):
    for name in ("a folder", "it's", "a$b"):
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / "Makefile", tmp_path / name)
        done = make("test", tree=tmp_path / name)
        assert done.returncode != 0
        assert "make does not work in a folder whose path has a space or a quote" in done.stderr


def test_the_stand_in_gets_its_url_as_it_is_and_not_among_its_arguments():
    assert "PG must be a URL" in make("proxy").stderr
    done = make("proxy", "PG=postgresql://u:$(shell touch no)`x`'\"@127.0.0.1:1/x", "OPTIONS=--port 0")
    assert done.returncode != 0
    assert "rds-proxy-standin: The server at 127.0.0.1:1 cannot be reached" in done.stderr
    recipe = make("-n", "proxy", "PG=postgresql://u:hidden@127.0.0.1:1/x").stdout
    assert "hidden" not in recipe


def test_a_missing_terraform_is_one_clear_line():
    done = make("plan", "ENV=dev", "TERRAFORM=no-such-terraform")
    assert done.returncode != 0
    assert "Terraform is missing" in done.stderr


def test_an_old_terraform_is_one_clear_line(old_terraform):
    done = make("plan", "ENV=dev", f"TERRAFORM={old_terraform}")
    assert done.returncode != 0
    assert "Terraform 1.10.5 is too old: 1.11 or newer is needed." in done.stderr


@pytest.mark.parametrize(
    ("name", "allowed"), [("OF", "function bootstrap proxy database"), ("FOLLOW", "1"), ("JSON", "1")]
)
def test_a_choice_that_is_none_is_refused_with_the_list(name, allowed):
    done = make("logs", "ENV=dev", f"{name}=all")
    assert done.returncode != 0
    assert f"{name} must be one of: {allowed}" in done.stderr


@pytest.mark.parametrize("target", ["invoke", "migrate", "psql", "reboot", "logs", "status"])
def test_what_is_not_deployed_is_one_clear_line(target, stack):
    done = stack.make(target, "ENV=dev")
    assert done.returncode != 0
    assert "dev is not deployed here: make deploy ENV=dev" in done.stderr


# The same for an environment that is deployed.
DEPLOYED = r"""#!/bin/sh
home=$(dirname "$0")
echo "$*" >>"$home/calls"
case "$*" in
*"output -raw function_arn") echo arn:aws:lambda:us-east-1:123456789012:function:app-dev:live ;;
*"output -raw database_identifier") echo app-dev ;;
*version*) echo '{"terraform_version": "1.11.4", "platform": "test_platform"}' ;;
*" plan "*) exit "$PLANNED" ;;
esac
"""


@pytest.fixture(scope="module")
def instance(plane):
    return Account.of(plane).instance("app-dev")


@pytest.fixture
def deployed(stack, instance):
    assert instance["DBInstanceIdentifier"] == "app-dev"
    stack.program.write_text(DEPLOYED)
    return stack


def test_reboot_lets_terraform_remember_what_is_in_force(deployed):
    done = deployed.make("reboot", "ENV=dev", "AUTO_APPROVE=1", PLANNED="0")
    assert done.returncode == 0, done.stderr
    assert "app-dev is rebooting" in done.stdout
    assert "app-dev is available" in done.stdout
    memory = "module.database.terraform_data.started_with"
    assert deployed.says("calls").splitlines()[-1].endswith(f"-target={memory} -replace={memory}")


def test_reboot_is_refused_before_the_parameters_are_applied(deployed):
    done = deployed.make("reboot", "ENV=dev", "AUTO_APPROVE=1", PLANNED="2")
    assert done.returncode != 0
    assert "First: make deploy ENV=dev" in done.stderr
    assert "rebooting" not in done.stdout
    assert "apply" not in deployed.says("calls")


def test_reboot_asks(deployed):
    done = deployed.make("reboot", "ENV=dev", PLANNED="0")
    assert done.returncode != 0
    assert "Nothing was changed." in done.stderr
    assert "rebooting" not in done.stdout
    assert "apply" not in deployed.says("calls")


def test_reboot_of_a_cluster_looks_at_the_cluster_s_own_parameters(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "terraform" / "big").mkdir(parents=True)
    (tmp_path / "terraform" / "big" / "main.tf").write_text('module "cluster" {\n}\n')
    made = ("-o", "package", "-o", ".venv/tools/requirements.txt")
    said = make("-n", *made, "reboot", "ENV=big", tree=tmp_path).stdout
    assert "-target=module.cluster.aws_rds_cluster_parameter_group.main" in said
    assert "-replace=module.cluster.terraform_data.started_with" in said
    assert "module.database" not in said


def test_make_alone_lists_every_target_that_a_user_may_want():
    [phony] = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    listed = set(re.findall(r"^  make ([a-z-]+) ", make().stdout, flags=re.MULTILINE))
    assert listed == set(phony.split()) - {"environment", "terraform-version", "scan-plans"}


# --- where it leads ---


@pytest.mark.parametrize("arguments", [[], ["-e", "AWS_ENDPOINT_URL=http://127.0.0.1:9", "AWS_PROFILE=production"]])
def test_nothing_of_the_user_s_own_leads_away_from_the_local_stack(stack, arguments):
    own = {
        "AWS_PROFILE": "production",
        "AWS_ACCESS_KEY_ID": "AKIAPRODUCTION",
        "AWS_SESSION_TOKEN": "production",
        "AWS_REGION": "mars-north-1",
        "AWS_DEFAULT_REGION": "mars-north-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/token",
        "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/production",
        "AWS_CA_BUNDLE": "/bundle",
        "TF_WORKSPACE": "production",
        "TF_DATA_DIR": "/production",
        "BACKEND": "-backend-config=path=/production",
        "PLANS": "/production",
        "LOCAL_STACK": "/production",
    }
    done = stack.make("plan", "ENV=dev", *arguments, **own)
    assert done.returncode == 0, done.stderr
    seen = dict(line.split("=", 1) for line in stack.says("environment").splitlines() if "=" in line)
    key = stack.plane.administrator
    assert {name: value for name, value in seen.items() if name.startswith("AWS_")} == {
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": stack.plane.url,
    }
    assert "TF_WORKSPACE" not in seen
    assert seen["TF_DATA_DIR"] == f"{stack.folder}/dev/.terraform"
    assert "production" not in stack.says("calls")


@pytest.mark.parametrize("target", ["demo", "test", "scan", "storm"])
def test_what_never_calls_aws_sees_nothing_of_the_user_s_own(tmp_path, target):
    """moto does not even start with a profile that it cannot find."""
    for name in ("Makefile", "terraform"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "show.mk").write_text("show: ; @env")
    command = ["-f", "Makefile", "-f", "show.mk", "show", target]  # the second fails here, for there are no sources
    seen = make(*command, tree=tmp_path, AWS_PROFILE="production", AWS_REGION="mars", TF_WORKSPACE="production").stdout
    assert "PATH=" in seen
    assert not re.search("^(AWS|TF_WORKSPACE)", seen, flags=re.MULTILINE)


def test_a_program_reads_what_a_stack_wrote_for_make(tmp_path):
    written = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_SECRET_ACCESS_KEY": "a$b#c\\d := e"}
    record = Record(tmp_path)
    record.write(written)
    assert record.read() == written


@pytest.mark.parametrize("target", ["plan", "destroy", "invoke", "demo"])
def test_a_stack_that_died_is_an_error_that_says_what_to_do(target, tmp_path):
    record = Record(tmp_path)
    record.write({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    (tmp_path / "stack.pid").write_text(str(os.getpid()))  # the number belongs to another process by now
    done = make(target, "-n", "ENV=dev", f"LOCAL_STACK={tmp_path}")
    assert done.returncode != 0
    assert "died: `make demo-down`" in done.stderr
    assert done.stdout == ""


# --- whose it is ---

HERE = "arn:aws:sqs:us-east-1:123456789012:queue"


@pytest.mark.parametrize(
    ("target", "arn", "there"),
    [
        ("plan", "arn:aws:sqs:us-east-1:111122223333:queue", "account 111122223333, region us-east-1"),
        ("deploy", "arn:aws:sqs:us-east-1:111122223333:queue", "account 111122223333, region us-east-1"),
        ("destroy", "arn:aws:sqs:us-east-1:111122223333:queue", "account 111122223333, region us-east-1"),
        ("destroy", "arn:aws:sqs:eu-west-1:123456789012:queue", "account 123456789012, region eu-west-1"),
    ],
)
def test_another_account_or_region_is_refused_before_a_plan(stack, target, arn, there):
    stack.holds(arn, arn.replace("sqs:" + arn.split(":")[3], "iam:"))
    done = stack.make(target, "ENV=dev", "AUTO_APPROVE=1")
    assert done.returncode != 0
    assert f"The state of terraform/dev is of {there}." in done.stderr
    assert f"You are in account 123456789012, region us-east-1, endpoint {stack.plane.url}." in done.stderr
    assert not re.search(r" (plan|apply) ", stack.says("calls"))


def test_a_function_of_another_account_is_not_invoked(stack):
    stack.program.with_name("output").write_text("arn:aws:lambda:us-east-1:111122223333:function:app")
    for target in ("invoke", "migrate"):
        done = stack.make(target, "ENV=dev")
        assert done.returncode != 0
        assert "is of account 111122223333" in done.stderr


@pytest.mark.parametrize("target", ["deploy", "destroy"])
def test_the_question_names_account_region_and_endpoint_and_no_is_no(stack, target):
    stack.holds(HERE)
    done = subprocess.run(
        ["make", target, "ENV=dev", *stack.led_here], cwd=ROOT, env=environment(), input="no\n",
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"account 123456789012, region us-east-1, endpoint {stack.plane.url}\n[yes/no]" in done.stdout
    assert "Nothing was changed." in done.stderr
    assert " apply " not in stack.says("calls")
    assert list(stack.folder.rglob("*.tfplan")) == []


def test_what_follows_from_a_plan_is_said_before_the_question(stack):
    stack.holds(HERE)
    done = stack.make("deploy", "ENV=dev")
    said, _, asked = done.stdout.partition("Apply this plan to dev?")
    assert "0 to add, 0 to change, 0 to replace, 1 to destroy" in said
    assert "Cuts connections:\n  module.proxy.aws_db_proxy_target.main: deleted" in said
    assert asked
    assert list(stack.folder.rglob("*.md")) == []


def test_nothing_changed_asks_nothing_and_applies_nothing(stack):
    stack.holds(HERE)
    stack.program.with_name("plan").write_text('{"applyable": false}')
    done = stack.make("deploy", "ENV=dev")
    assert "Nothing to change in dev." in done.stdout
    assert "[yes/no]" not in done.stdout
    assert " apply " not in stack.says("calls")
    assert list(stack.folder.rglob("*.tfplan")) == []


def test_a_summary_that_fails_applies_nothing(stack):
    stack.holds(HERE)
    stack.program.with_name("plan").write_text("no JSON")
    done = stack.make("deploy", "ENV=dev", "AUTO_APPROVE=1")
    assert done.returncode != 0
    assert " apply " not in stack.says("calls")


def test_plan_writes_its_summary_for_a_pull_request_beside_the_plan(stack):
    stack.holds(HERE)
    done = stack.make("plan", "ENV=dev")
    page = stack.folder / "dev" / "dev.tfplan.md"
    assert done.returncode == 0, done.stderr
    assert f"The summary for a pull request is in {page}." in done.stdout
    assert "`module.proxy.aws_db_proxy_target.main`: deleted" in page.read_text()


def test_the_yes_applies_the_plan_that_was_shown(stack):
    """Even if others plan while the question is open."""
    stack.holds(HERE)
    command = ["make", "destroy", "ENV=dev", *stack.led_here]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment(), **pipes) as asking:
        deadline = time.monotonic() + 60
        said = ""
        while "[yes/no]" not in said:
            assert time.monotonic() < deadline
            said += asking.stdout.read(1)
        for target in ("plan", "deploy"):
            subprocess.run(
                ["make", target, "ENV=dev", *stack.led_here], cwd=ROOT, env=environment(),
                stdin=subprocess.DEVNULL, capture_output=True, check=False,
            )  # fmt: skip
        assert stack.says("plans").count("x") == 3
        asking.communicate("yes\n")
    assert asking.returncode == 0
    assert stack.says("applied").split() == ["1"]


def test_every_plan_is_kept_with_its_stack(stack):
    assert f"-out={stack.folder}/dev/dev.tfplan" in stack.make("plan", "-n", "ENV=dev").stdout
    aws = make("plan", "deploy", "-n", "ENV=dev", "LOCAL_STACK=").stdout
    plans = dict.fromkeys(re.findall(r"-out=([^\s;]+)", aws))
    assert list(plans) == [f"{ROOT}/build/output/dev.tfplan", f"{ROOT}/build/output/dev-$PPID.tfplan"]


# --- where providers come from ---


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A tree as it was cloned, but for its tools."""
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".local", ".terraform", "__pycache__", "output", "tests", "*cache"
    )
    shutil.copytree(ROOT, tree, symlinks=True, ignore=ignored)
    (tree / ".venv").mkdir()
    for name in ("tools", "uv"):
        (tree / ".venv" / name).symlink_to(ROOT / ".venv" / name)
    return tree


@pytest.mark.parametrize("zipped", [False, True])
def test_where_the_registry_is_out_of_reach_a_mirror_is_found_and_kept(fresh, stack, tmp_path, zipped):
    home = tmp_path / "home"
    mirror = home / "somewhere" / "plugins"
    provider = mirror / "registry.terraform.io" / "hashicorp" / "aws"
    locked = re.search(r'version *= "(.+)"', (ROOT / "terraform/dev/.terraform.lock.hcl").read_text())[1]
    (provider / ("x" if zipped else f"{locked}/test_platform")).mkdir(parents=True)
    if zipped:
        (provider / f"terraform-provider-aws_{locked}_test_platform.zip").touch()
    missing = {
        "HOME": str(home),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "TF_CLI_CONFIG_FILE": str(tmp_path / "missing"),
        "XDG_DATA_HOME": "/nowhere",
        "XDG_DATA_DIRS": "/nowhere",
    }
    first = make("terraform-version", f"TERRAFORM={stack.program}", tree=fresh, **missing)
    assert first.stderr.splitlines() == [
        f"The Terraform registry cannot be reached: providers come from the mirror {mirror}."
    ]
    make("invoke", "ENV=dev", *stack.led_here, tree=fresh, **missing)
    configuration = fresh / ".venv" / "terraform.rc"
    assert f"TF_CLI_CONFIG_FILE={configuration}" in stack.says("environment").splitlines()
    assert f'path    = "{mirror}"' in configuration.read_text()
    own = tmp_path / "own.rc"
    own.touch()
    make("invoke", "ENV=dev", *stack.led_here, tree=fresh, **missing | {"TF_CLI_CONFIG_FILE": str(own)})
    assert f"TF_CLI_CONFIG_FILE={own}" in stack.says("environment").splitlines()
    assert make("terraform-version", f"TERRAFORM={stack.program}", tree=fresh, **missing).stderr == ""
