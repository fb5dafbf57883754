"""The stack in the background, and the demonstration, as make runs them: in a copy of the tree, with its own .local."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local.lambda_runtime import processes
from tests.waiting import await_that

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "local"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns(".git", ".venv", ".local", "__pycache__", "*.tfplan*")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=ignored, dirs_exist_ok=True)
    (tree / ".venv").symlink_to(ROOT / ".venv")
    return tree


def run(tree, *arguments):
    return subprocess.run([*COMMAND, *arguments], cwd=tree, text=True, capture_output=True, check=False)


@pytest.fixture
def stack(tree):
    (tree / ".local" / "environment.mk").unlink(missing_ok=True)
    with (tree / "up.log").open("w") as log:
        process = subprocess.Popen([*COMMAND, "up"], cwd=tree, stdout=log, stderr=log)
    await_that((tree / ".local" / "environment.mk").exists, seconds=60)
    yield process
    process.kill()
    process.wait()


def processes_of(tree):
    """The command lines of what runs in this tree, or for it."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], text=True, capture_output=True, check=True).stdout
    return [line for line in listed.splitlines() if str(tree) in line and str(os.getpid()) not in line.split()[0]]


def test_make_is_led_to_the_stack_while_it_is_up_and_only_then(tree, stack):
    makefile = tree / ".local" / "environment.mk"
    assert "override AWS_ENDPOINT_URL := http://127.0.0.1:" in makefile.read_text()
    assert run(tree, "down").stdout == "The stack is stopped.\n"
    assert stack.wait(10) == 0
    assert not makefile.exists()
    assert run(tree, "down").stdout == "No stack is running.\n"


def test_what_a_stack_writes_is_for_its_user_alone(tree, stack):
    """Even where the user's own files are open to all."""
    local = tree / ".local"
    assert stat.S_IMODE(local.stat().st_mode) == 0o700
    assert {path.name for path in local.rglob("*") if path.stat().st_mode & 0o077} == set()
    assert stack.poll() is None


def test_a_killed_stack_is_an_error_until_demo_down_removes_what_it_left(tree, stack):
    local = tree / ".local"
    busy = subprocess.Popen(["sleep", "60"], start_new_session=True)
    later = subprocess.Popen(["sleep", "60"], start_new_session=True)
    for process, began in ((busy, processes.began(busy.pid)), (later, "another time")):
        (local / f"environment-{process.pid}").mkdir()
        (local / f"environment-{process.pid}" / "process").write_text(f"{process.pid} {began}")
    assert list((local / "certificates").iterdir())
    stack.kill()
    stack.wait()
    (local / "stack.pid").write_text(str(later.pid))  # another process has got its number
    try:
        refused = subprocess.run(["make", "plan", "ENV=dev"], cwd=tree, text=True, capture_output=True, check=False)
        assert refused.returncode != 0
        assert "died: `make demo-down`" in refused.stderr
        down = subprocess.run(["make", "demo-down"], cwd=tree, text=True, capture_output=True, check=True)
        assert down.stdout == "The stack had died: what it left behind is removed.\n"
        assert sorted(path.name for path in local.iterdir()) == ["stack.pid"]
        assert busy.wait(10) == -signal.SIGKILL  # a function that was at work
        assert later.poll() is None  # somebody else's process
    finally:
        busy.kill()
        later.kill()
    led = subprocess.run(["make", "environment", "ENV=dev"], cwd=tree, text=True, capture_output=True, check=True)
    assert "local stack" not in led.stdout
    assert run(tree, "down").stdout == "No stack is running.\n"


@pytest.mark.usefixtures("stack")
def test_a_second_stack_in_one_folder_is_refused(tree):
    second = run(tree, "up")
    assert second.returncode == 1
    assert second.stderr == "A stack runs here already: `make demo-down` stops it.\n"


def test_a_port_in_use_is_one_clear_line(tree):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = run(tree, "demo", "--port", str(port))
    assert demo.returncode == 1
    assert demo.stderr == f"The stack did not start: port {port} is in use: choose another with LOCAL_PORT=\n"


def test_an_interrupted_demonstration_leaves_no_process(tree):
    with subprocess.Popen(
        [*COMMAND, "demo"],
        cwd=tree,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as demo:
        try:
            said = []
            for line in demo.stdout:
                said.append(line)
                if "module.network." in line:  # Terraform is in the middle of its apply
                    break
            else:
                pytest.fail("".join(said))
            os.killpg(demo.pid, signal.SIGINT)  # as the terminal does at Ctrl-C
            rest = demo.stdout.read()
            assert demo.wait(60) == 130, rest
        finally:
            demo.kill()
    assert any("AWS control plane   moto at http://127.0.0.1:" in line for line in said)
    assert "The stack is stopped." in rest
    assert processes_of(tree) == []
