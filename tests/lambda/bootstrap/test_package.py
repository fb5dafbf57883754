"""The function is a package whose name the Lambda runtime has, too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "lambda" / "bootstrap"


def test_the_runtime_s_own_bootstrap_does_not_hide_the_function(tmp_path: Path) -> None:
    """Lambda runs /var/runtime/bootstrap.py, whose folder is on the path behind the function's own."""
    task, runtime = tmp_path / "task", tmp_path / "runtime"
    shutil.copytree(FOLDER, task / "bootstrap")
    runtime.mkdir()
    script = runtime / "bootstrap.py"
    script.write_text(
        "import os, sys; sys.path.insert(0, os.environ['LAMBDA_TASK_ROOT']);"
        " import bootstrap.handler; print(bootstrap.handler.__file__)"
    )
    environment = {**os.environ, "LAMBDA_TASK_ROOT": str(task)}
    done = subprocess.run([sys.executable, script], env=environment, text=True, capture_output=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (str(task / "bootstrap" / "handler.py"), "")
