"""Make the zip of a function from any folder, for use with the layer, and see that it will start.

What Lambda would say at the first invocation is said here: a package that has no wheel for Lambda, a second psycopg2, a
handler that does not import.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from build import layer
from build.archive import write_zip
from build.checks import PackageError, check_shared_objects, check_size
from build.finish import remove_leftovers

HANDLER = "handler.handler"

# The second layer, for functions that name it in runtime.extra_layers.
_FRAMEWORKS = "frameworks.zip"

_RUNTIME = layer.ROOT / ".venv" / "runtime" / "bin" / "python"
_MACHINES = {"x86_64": ("x86_64", "AMD64"), "arm64": ("aarch64", "arm64")}

_NO_WHEEL = re.compile(r"Because (\S+) has no (?:usable )?wheels")
_HANDLER = re.compile(r"[A-Za-z_]\w*([./][A-Za-z_]\w*)*\.[A-Za-z_]\w*", re.ASCII)
_REQUIREMENTS = ("requirements.txt", "uv.lock", "pyproject.toml")  # the first that there is
_NO_CODE = {*_REQUIREMENTS, "uv.toml", "README.md", "tests"}  # at the top of the folder

# Also there: a folder may be a root of Terraform as well, whose state is nobody's business.
_OF_TERRAFORM = shutil.ignore_patterns("*.tf", "*.tf.json", "*.tfvars", "*.tfvars.json", "*.tfstate*", "*.tfplan*")

# The layer brings them: a second one in the function's own folder would come first on the path.
_OF_THE_LAYER = {"psycopg2": "psycopg2", "psycopg2-binary": "psycopg2", "lambda-postgres": "lambda_postgres"}
_OF_THE_RUNTIME = ("boto3", "botocore")
_IMPORT_SECONDS = 30

# As Lambda's runtime finds a handler: module and attribute, / for the folders too. Its last line says what is wrong.
_IMPORT = """
import importlib, sys
handler, *path = sys.argv[1:]
module, _, name = handler.rpartition(".")
sys.path[:0] = path[:2]
sys.path += path[2:]
if not callable(getattr(importlib.import_module(module.replace("/", ".")), name, None)):
    sys.exit(f"{module} has no function {name}")
"""


@dataclass(frozen=True)
class Function:
    """A folder of code, its handler, and what it is to run on."""

    folder: Path
    handler: str = HANDLER
    arch: str = "x86_64"
    version: str = layer.PYTHON_VERSION

    @property
    def zip_name(self) -> str:
        parts = [part for part in Path(os.path.relpath(self.folder, layer.ROOT)).parts if part != ".."]
        return f"function-{re.sub(r'[^A-Za-z0-9_-]+', '-', '-'.join(parts)).strip('-')}.zip"


def make(function: Function, output: Path) -> Path:
    """Write the function's zip to the folder `output`, in which its layer is; PackageError says why it cannot run."""
    _check_handler(function)
    package = output / function.zip_name
    with tempfile.TemporaryDirectory(prefix="function-") as folder:
        scratch = Path(folder)
        tree = scratch / "function"
        tree.mkdir()
        fill(function, tree, output)
        compile_tree(function, tree)
        made = scratch / package.name
        write_zip(made, tree)
        check(function, made, output)
        unfinished = package.with_name(f".{package.name}.{os.getpid()}")
        shutil.copyfile(made, unfinished)
        unfinished.replace(package)
    return package


def fill(function: Function, tree: Path, output: Path, code: str = _IMPORT) -> None:
    """Put the folder's code and what it requires into a tree; refuse what `code` cannot import as the runtime will."""
    layer_zip = _layer(function, output)
    with tempfile.TemporaryDirectory(prefix="function-") as folder:
        scratch = Path(folder)
        _install(function, tree, scratch)
        _check_packages(function, tree)
        _copy(function, tree)
        _check_import(function, tree, layer_zip, scratch, code)


def compile_tree(function: Function, tree: Path) -> None:
    """Compile what stands in a tree as it will in Lambda."""
    if python := layer.find_python(function.version):
        subprocess.run([python, "-I", layer.ROOT / "build" / "finish.py", tree, "--function"], check=True)
    else:
        print(f"No CPython {function.version} at hand: the package holds no .pyc files and is slower to import.")


def check(function: Function, package: Path, output: Path) -> None:
    """Refuse a zip that Lambda would not take beside its layer, or not run."""
    check_size(package, _layer(function, output))
    check_shared_objects(package, function.arch, needed=False)


def _layer(function: Function, output: Path) -> Path:
    layer_zip = output / f"{layer.name(function.arch, function.version)}.zip"
    if not layer_zip.exists():
        raise PackageError(f"{layer_zip.name} is missing: run make package.")
    return layer_zip


def _check_handler(function: Function) -> None:
    if not function.folder.is_dir():
        raise PackageError(f"FUNCTION={function.folder} is no folder.")
    if not _HANDLER.fullmatch(function.handler):
        raise PackageError(f"HANDLER={function.handler} must be module.function, such as app.main.")
    module = Path(function.handler.rpartition(".")[0].replace(".", "/"))
    if not any((function.folder / file).is_file() for file in (module.with_suffix(".py"), module / "__init__.py")):
        raise PackageError(
            f"FUNCTION={function.folder} has no {module.with_suffix('.py')}: HANDLER={function.handler} names it. Set"
            " HANDLER to module.function, such as app.main."
        )


def _install(function: Function, tree: Path, scratch: Path) -> None:
    """Install what the folder asks for, from wheels for Lambda."""
    named = next((file for name in _REQUIREMENTS if (file := function.folder / name).is_file()), None)
    if named is None:
        return
    requirements = named.resolve()
    if named.name == "uv.lock":
        requirements = scratch / "requirements.txt"
        _uv(function, named, "export", "--frozen", "--no-dev", "--no-emit-project", "--output-file", str(requirements))
    hashed = "--hash=" in requirements.read_text(encoding="utf-8")
    target = ["--python-version", function.version, "--python-platform", layer.WHEEL_PLATFORMS[function.arch]]
    options = ["--only-binary=:all:", "--link-mode=copy", *(["--require-hashes"] if hashed else [])]
    source = ["--python", sys.executable, *target, "--target", str(tree), "--requirement", str(requirements)]
    _uv(function, named, "pip", "install", *options, *source)
    shutil.rmtree(tree / "bin", ignore_errors=True)  # commands, which begin with this machine's path of Python
    remove_leftovers(tree)
    if not hashed and any(tree.iterdir()):
        print(f"{named.name} has no hashes: another day may bring other versions, and another zip.")


def _uv(function: Function, named: Path, *arguments: str) -> None:
    # In the folder, so that its own settings of uv count.
    done = subprocess.run(
        [layer.UV, *arguments, "--quiet"], cwd=function.folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = " ".join(re.sub(r"[\u2500-\u25ff\xd7]", " ", done.stderr).split()).removeprefix("error: ")
        target = f"Python {function.version} on {function.arch}"
        if found := _NO_WHEEL.search(reason):
            there = " The layer brings psycopg2: take it out." if found[1].startswith("psycopg2") else ""
            raise PackageError(f"{found[1]} of {named.name} has no wheel for {target}.{there}")
        raise PackageError(f"{named.name} cannot be installed for {target}: {reason.partition(' hint: ')[0]}")


def _check_packages(function: Function, tree: Path) -> None:
    """Refuse a second copy of what the layer brings, and tell of one of what the runtime brings."""
    found = {_canonical(package.name): package for package in distributions(path=[str(tree)])}
    for name, module in _OF_THE_LAYER.items():
        if package := found.get(name):
            users = sorted(other.name for other in found.values() if _requires(other, name))
            of = f", which {' and '.join(users)} requires" if users else ""
            raise PackageError(
                f"{package.name} {package.version}{of} is a second {module}: the layer brings its own. Take it out."
            )
    for module in {*_OF_THE_LAYER.values()}:
        if (function.folder / module).exists() or (function.folder / f"{module}.py").exists():
            raise PackageError(f"{function.folder / module} is a second {module}: the layer brings its own.")
    for name in _OF_THE_RUNTIME:
        if package := found.get(name):
            size = sum(file.stat().st_size for file in (tree / name).rglob("*") if file.is_file()) / 2**20
            print(f"{name} {package.version} ({size:.0f} MB) takes the place of the runtime's own.")
    if "botocore" in found and "boto3" not in found:
        print("The runtime's boto3 will use that botocore, and may refuse it: require boto3 too, or neither.")


def _copy(function: Function, tree: Path) -> None:
    def ignored(folder: str, names: list[str]) -> set[str]:
        left_out = set(layer.NOT_SOURCE(folder, names))
        left_out |= {name for name in names if (Path(folder) / name / "pyvenv.cfg").exists()}
        left_out |= {name for name in names if not (Path(folder) / name).exists()}  # a link to what is gone
        if Path(folder) == function.folder:
            left_out |= (_NO_CODE & {*names}) | _OF_TERRAFORM(folder, names)
        return left_out

    names = os.listdir(function.folder)
    both = {*os.listdir(tree)} & ({*names} - ignored(str(function.folder), names))
    if both:
        raise PackageError(f"{function.folder / min(both)} and a package that is installed have one name: rename it.")
    shutil.copytree(function.folder, tree, ignore=ignored, dirs_exist_ok=True)


def _check_import(function: Function, tree: Path, layer_zip: Path, scratch: Path, code: str) -> None:
    """Import the handler as the runtime will, beside the layer, where this machine can run what Lambda will."""
    opt = scratch / "opt"
    compiled = any(".so" in path.suffixes for path in tree.rglob("*"))
    python = _native_python(function)
    if python:
        with zipfile.ZipFile(layer_zip) as archive:
            archive.extractall(opt)
    elif not compiled and _version(_RUNTIME) == function.version:
        python = str(_RUNTIME)
        layer.make_for_interpreter(opt, _RUNTIME)
    if python is None:
        print(f"Not imported here: this machine has no Python {function.version} of {function.arch} on Linux.")
        return
    [boto3] = (_RUNTIME.parents[1] / "lib").glob("python*/site-packages")
    private = ("AWS_", "DB_", "LAMBDA_", "PG", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    environment |= {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    command = [python, "-I", "-B", "-c", code, function.handler, *map(str, (tree, opt / "python", boto3))]
    said = _run(function, command, tree, environment)
    if (second := _second_layer(said)) and not (frameworks := layer_zip.with_name(_FRAMEWORKS)).exists():
        said = f"{said}, of the second layer. First: make frameworks"
    elif second:
        with zipfile.ZipFile(frameworks) as archive:
            archive.extractall(opt)
        said = _run(function, command, tree, environment)
        print(f"It imports {second} of {_FRAMEWORKS}: name that layer in the function's runtime.extra_layers.")
    if said and code != _IMPORT:
        raise PackageError(f"{function.folder}: {said}")
    if said:
        raise PackageError(f"{function.handler} does not import with Python {function.version}: {said}.")


def _run(function: Function, command: list[str], tree: Path, environment: dict[str, str]) -> str:
    """Return the last thing that a command which fails has said."""
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=_IMPORT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise PackageError(f"{function.handler} was not imported within {_IMPORT_SECONDS} s.") from None
    return (
        ""
        if not done.returncode
        else (done.stderr.strip().splitlines() or [f"Python ended with {done.returncode}"])[-1]
    )


def _second_layer(said: str) -> str | None:
    """Return the module of the second layer that was missed."""
    found = re.search(r"No module named '(lambda_postgres\.\w+)'", said)
    name = found[1].rpartition(".")[2] if found else ""
    folder = layer.ROOT / "lambda" / "frameworks" / "lambda_postgres"
    return found[1] if found and ((folder / name).is_dir() or (folder / f"{name}.py").is_file()) else None


def _native_python(function: Function) -> str | None:
    """Return an interpreter that runs what Lambda runs."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES[function.arch]:
        return None
    if _version(_RUNTIME) == function.version:
        return str(_RUNTIME)
    return layer.find_python(function.version)


def _version(python: Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requires(package: Distribution, name: str) -> bool:
    return any(_canonical(re.split(r"[^\w.-]", one, maxsplit=1)[0]) == name for one in package.requires or [])
