"""The commands of the local stack: python -m local demo | up | down | run -- COMMAND."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from local import service

DIRECTORY = Path(".local")


def main() -> int:
    """Run one command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demonstrate = commands.add_parser("demo", help="bring the stack up, deploy an environment, look at it work")
    demonstrate.add_argument("environment", nargs="?", default="prod", choices=("prod", "aurora"))
    up = commands.add_parser("up", help="serve the stack until it is told to stop")
    for command in (demonstrate, up):
        command.add_argument("--port", type=int, default=0, help="port of the AWS endpoint (default: any free one)")
    commands.add_parser("down", help="stop the stack that runs in the background")
    run = commands.add_parser("run", help="run one command against a stack of its own")
    run.add_argument("argument", nargs="+")
    arguments = parser.parse_args()

    os.umask(0o077)  # what a stack writes is for its user alone
    match arguments.command:
        case "demo":
            from local import demo  # noqa: PLC0415  needs the storm

            return demo.run(DIRECTORY, arguments.environment, port=arguments.port)
        case "up":
            return service.serve(DIRECTORY, port=arguments.port)
        case "down":
            return service.stop(DIRECTORY)
        case _:
            return _run(arguments.argument)


def _run(command: list[str]) -> int:
    from local.stack import Stack  # noqa: PLC0415  needs all of the stack

    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory)) as stack:
        return subprocess.run(command, env=stack.environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
