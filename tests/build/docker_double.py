"""Stands in for `docker` where no engine is: notes its arguments and, asked to build, does what build/Dockerfile says.

It copies Docker in this: `version` and `buildx version` succeed, and `buildx build` runs the file's COPY and RUN lines
in a folder in place of the image's root and exports what the last stage copies. In place of Lambda's Python it has the
one of .venv/runtime. It has no other platform and no ignore file, and whatever else it is asked for is an error.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path


def main() -> None:
    arguments = sys.argv[1:]
    with Path(os.environ["DOCKER_DOUBLE_NOTES"]).open("a") as notes:
        print(json.dumps(arguments), file=notes)
    if arguments[:2] == ["buildx", "build"]:
        *options, context = arguments[2:]
        given = dict(zip(options[::2], options[1::2], strict=True))
        kind, destination = given["--output"].split(",dest=")
        assert kind == "type=local"
        with tempfile.TemporaryDirectory() as folder:
            build(Path(given["--file"]), Path(context), Path(folder), Path(destination))
    elif arguments not in (["version", "--format", "{{.Server.Version}}"], ["buildx", "version"]):
        sys.exit(f"The double does not know: {arguments}")


def build(dockerfile: Path, context: Path, image: Path, destination: Path) -> None:
    lines = re.sub(r"\\\n", "", dockerfile.read_text()).splitlines()
    for instruction, *words in (shlex.split(line, comments=True) for line in lines if line and line[0] != "#"):
        match instruction, words:
            case "FROM", _:
                pass
            case "COPY", ["--from=layer", source, target]:
                copy(image / source.lstrip("/"), destination / target.lstrip("/"))
            case "COPY", [*sources, target]:
                for source in sources:
                    copy(context / source, image / target.lstrip("/"), ignored(dockerfile))
            case "RUN", _:
                run(next(line for line in lines if line.startswith("RUN ") and shlex.split(line)[1:] == words), image)
            case _:
                sys.exit(f"The double does not know: {instruction}")


def ignored(dockerfile: Path) -> set[str]:
    """The paths that Dockerfile.dockerignore takes out of the context by name."""
    lines = dockerfile.with_name(f"{dockerfile.name}.dockerignore").read_text().splitlines()
    return {line for line in lines if not line.startswith(("*", "!"))}


def copy(source: Path, target: Path, left_out: Collection[str] = ()) -> None:
    """Copy as COPY does: a folder's content, or a file into a folder."""

    def not_copied(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if any(f"{folder}/{name}".endswith(f"/{path}") for path in left_out)]

    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=not_copied)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def run(line: str, image: Path) -> None:
    command = re.sub(r"(?<![\w.])/(opt|build)/", rf"{image}/\1/", line.removeprefix("RUN "))
    functions = 'python() { "$RUNTIME" "$@"; }; pip() { "$PIP" -m pip --python "$RUNTIME" "$@"; }; '
    subprocess.run(["bash", "-euc", functions + command], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
