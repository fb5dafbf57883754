"""Any folder as a function: what goes into its zip, and what is refused before Lambda would."""

import hashlib
import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from build import checks, layer
from build import function as own
from build.checks import PackageError
from build.function import Function
from tests.build.project import Project

HANDLER = "from lambda_postgres import warm\n\nwarm()\n\n\ndef main(event, context):\n    return 1\n"


class Index:
    """A folder of wheels, in the place of a package index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def serve(self, function: Path) -> None:
        """Let uv know no other index, by the settings beside the function's code."""
        (function / "uv.toml").write_text(f'[pip]\nno-index = true\nfind-links = ["{self.folder}"]\n')

    def add(self, name: str, version: str = "1.0", *, tag: str = "py3-none-any", requires: str = "") -> Path:
        module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        path = self.folder / f"{module}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{module}/__init__.py", f"NAME = {name!r}\n")
            wheel.writestr(f"{info}/METADATA", metadata + (f"Requires-Dist: {requires}\n" if requires else ""))
            wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
            wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {module}:main\n")
            wheel.writestr(f"{info}/RECORD", "")
        return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A function of one file."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "app.py").write_text(HANDLER)
    return folder


@pytest.fixture
def index(tmp_path: Path, folder: Path) -> Index:
    index = Index(tmp_path / "index")
    index.serve(folder)
    return index


@pytest.fixture
def output(packages: Project, tmp_path: Path) -> Path:
    """A folder beside whose layer a zip is made."""
    folder = tmp_path / "output"
    folder.mkdir()
    for layer_zip in (*packages.zip("function").parent.glob("layer-*.zip"), packages.zip("frameworks")):
        (folder / layer_zip.name).symlink_to(layer_zip)
    return folder


def make(folder: Path, output: Path, handler: str = "app.main", **more: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(own.make(Function(folder, handler, **more), output))


def refused(folder: Path, output: Path, handler: str = "app.main", **more: str) -> str:
    wanted = Function(folder, handler, **more)
    with pytest.raises(PackageError) as error:
        own.make(wanted, output)
    assert not (output / wanted.zip_name).exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_code_and_packages_are_in_it_and_nothing_else(folder: Path, output: Path, index: Index) -> None:
    index.add("greeting")
    for name in (
        ".env",
        "README.md",
        "tests/test_app.py",
        "venv/pyvenv.cfg",
        "main.tf",
        "terraform.tfstate.backup",
        "shop/part.py",
        "shop/data.json",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    (folder / "requirements.txt").write_text("greeting==1.0\n")
    (folder / "app.py").write_text(f"import greeting, shop.part\n{HANDLER}")
    names = set(make(folder, output).namelist())
    modules = {name for name in names if not name.endswith(".pyc") and "dist-info" not in name}
    assert modules == {"app.py", "greeting/__init__.py", "shop/part.py", "shop/data.json"}
    assert not [name for name in names if name.startswith("bin/") or name.endswith(("RECORD", "INSTALLER"))]


def test_a_link_brings_what_it_leads_to(folder: Path, output: Path) -> None:
    (folder.parent / "shared.py").write_text("NAME = 1\n")
    (folder / "shared.py").symlink_to(Path("..") / "shared.py")
    (folder / "gone.py").symlink_to(Path("..") / "gone.py")
    names = make(folder, output).namelist()
    assert "shared.py" in names
    assert "gone.py" not in names


@pytest.mark.skipif(sys.implementation.cache_tag != "cpython-313", reason="only Lambda's Python compiles modules")
def test_every_module_is_compiled(folder: Path, output: Path) -> None:
    assert make(folder, output).namelist() == ["__pycache__/app.cpython-313.pyc", "app.py"]


def test_same_bytes_from_another_place(
    folder: Path, output: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("greeting")
    (folder / "requirements.txt").write_text("greeting==1.0\n")
    first = own.make(Function(folder, "app.main"), output).read_bytes()
    elsewhere = tmp_path / "another folder" / "shop"
    elsewhere.parent.mkdir()
    folder.rename(elsewhere)
    os.utime(elsewhere / "app.py", (2_000_000_000, 2_000_000_000))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert own.make(Function(elsewhere, "app.main"), output).read_bytes() == first


def test_what_it_imports_from_the_second_layer_is_told(
    folder: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "app.py").write_text(HANDLER.replace("lambda_postgres", "lambda_postgres.framework", 1))
    second = output / "frameworks.zip"
    away = second.rename(second.with_suffix(".away"))
    assert refused(folder, output).endswith("'lambda_postgres.framework', of the second layer. First: make frameworks.")
    away.rename(second)
    assert "cannot import name 'warm'" in refused(folder, output)
    (folder / "app.py").write_text("from lambda_postgres.framework import invocation\n\nmain = invocation\n")
    make(folder, output)
    assert "imports lambda_postgres.framework of frameworks.zip: name that layer in" in capsys.readouterr().out


def test_a_hash_that_is_given_is_held(folder: Path, output: Path, index: Index) -> None:
    digest = hashlib.sha256(index.add("greeting").read_bytes()).hexdigest()
    (folder / "requirements.txt").write_text(f"greeting==1.0 --hash=sha256:{digest}\n")
    assert "greeting/__init__.py" in make(folder, output).namelist()
    (output / Function(folder).zip_name).unlink()
    (folder / "requirements.txt").write_text(f"greeting==1.0 --hash=sha256:{'0' * 64}\n")
    assert "Hash mismatch for `greeting==1.0`" in refused(folder, output)


def test_a_package_without_a_hash_among_others_is_refused(folder: Path, output: Path, index: Index) -> None:
    digest = hashlib.sha256(index.add("greeting").read_bytes()).hexdigest()
    index.add("parting")
    (folder / "requirements.txt").write_text(f"greeting==1.0 --hash=sha256:{digest}\nparting==1.0\n")
    assert "none were provided for: parting==1.0" in refused(folder, output)


def test_pyproject_is_read_too(folder: Path, output: Path, index: Index) -> None:
    index.add("greeting")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\ndependencies = ["greeting==1.0"]\n'
    )
    names = make(folder, output).namelist()
    assert "greeting/__init__.py" in names
    assert "pyproject.toml" not in names


@pytest.mark.parametrize(
    ("arch", "tag"),
    [("x86_64", "cp313-cp313-manylinux_2_34_x86_64"), ("arm64", "cp313-cp313-manylinux_2_28_aarch64")],
)
def test_wheels_are_of_lambda_s_platform(folder: Path, output: Path, index: Index, arch: str, tag: str) -> None:
    index.add("greeting", tag=tag)
    (folder / "requirements.txt").write_text("greeting==1.0\n")
    assert "greeting/__init__.py" in make(folder, output, arch=arch).namelist()


@pytest.mark.parametrize("tag", ["cp313-cp313-macosx_11_0_arm64", "cp312-cp312-manylinux_2_34_x86_64"])
def test_a_package_without_a_wheel_for_lambda_is_one_line(folder: Path, output: Path, index: Index, tag: str) -> None:
    index.add("greeting", tag=tag)
    (folder / "requirements.txt").write_text("greeting==1.0\n")
    said = refused(folder, output)
    assert said == "greeting==1.0 of requirements.txt has no wheel for Python 3.13 on x86_64."


def test_a_second_psycopg2_is_refused_and_who_requires_it_is_named(folder: Path, output: Path, index: Index) -> None:
    index.add("psycopg2-binary", "2.9.12")
    index.add("greeting", requires="psycopg2-binary>=2.9")
    (folder / "requirements.txt").write_text("greeting\n")
    assert refused(folder, output).startswith(
        "psycopg2-binary 2.9.12, which greeting requires is a second psycopg2: the layer brings its own."
    )


@pytest.mark.parametrize("module", ["psycopg2", "lambda_postgres"])
def test_a_copy_in_the_folder_itself_is_refused(folder: Path, output: Path, module: str) -> None:
    (folder / module).mkdir()
    assert f"is a second {module}" in refused(folder, output)


def test_a_botocore_in_place_of_the_runtime_s_is_told(
    folder: Path, output: Path, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("botocore", "1.2")
    (folder / "requirements.txt").write_text("botocore\n")
    make(folder, output)
    told = capsys.readouterr().out
    assert "botocore 1.2 (0 MB) takes the place of the runtime's own." in told
    assert "require boto3 too, or neither" in told


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("app", "HANDLER=app must be module.function"),
        ("app:main", "must be module.function"),
        ("other.main", "has no other.py: HANDLER=other.main names it"),
        ("app.other", "app has no function other"),
        ("app.__name__", "app has no function __name__"),
    ],
)
def test_a_wrong_handler_is_one_line(folder: Path, output: Path, handler: str, said: str) -> None:
    assert said in refused(folder, output, handler)


def test_a_folder_that_is_none_is_one_line(tmp_path: Path, output: Path) -> None:
    assert refused(tmp_path / "nowhere", output).endswith("nowhere is no folder.")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nowhere", "does not import with Python 3.13: ModuleNotFoundError: No module named 'nowhere'."),
        ("def main(", "SyntaxError"),
        ("import os\nos.environ['TABLE']", "KeyError: 'TABLE'"),
    ],
)
def test_a_handler_that_does_not_import_is_refused_with_the_reason(
    folder: Path, output: Path, code: str, said: str
) -> None:
    (folder / "app.py").write_text(f"{code}\n")
    assert said in refused(folder, output)


def test_it_imports_beside_the_layer_and_the_runtime_s_boto3(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "nested").mkdir()
    code = "import boto3, os, psycopg2\nassert os.environ['TABLE']\nassert 'PGHOST' not in os.environ\n"
    (folder / "nested" / "app.py").write_text(f"{code}boto3.client('s3')\n{HANDLER}")
    monkeypatch.setenv("TABLE", "orders")
    monkeypatch.setenv("PGHOST", "my own")
    make(folder, output, "nested/app.main")


def test_with_its_layer_it_may_not_exceed_lambda_s_limit(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(output / "layer-x86_64.zip") as archive:
        of_layer = sum(entry.file_size for entry in archive.infolist())
    monkeypatch.setattr(checks, "_MAX_UNZIPPED", of_layer + 10_000)
    make(folder, output)
    (output / Function(folder).zip_name).unlink()
    (folder / "large.bin").write_bytes(bytes(10_000))
    assert f"bytes unzipped with its layer; Lambda takes {of_layer + 10_000:,}" in refused(folder, output)


def test_a_shared_object_for_another_machine_is_refused(folder: Path, output: Path) -> None:
    (folder / "fast.so").write_bytes(b"\x7fELF".ljust(18, b"\0") + (183).to_bytes(2, "little"))
    assert "fast.so is not compiled for x86_64" in refused(folder, output)


def test_a_name_that_the_folder_and_a_package_have_is_refused(folder: Path, output: Path, index: Index) -> None:
    index.add("greeting")
    (folder / "greeting").mkdir()
    (folder / "requirements.txt").write_text("greeting\n")
    assert "greeting and a package that is installed have one name" in refused(folder, output)


def test_each_folder_has_a_zip_of_its_own(tmp_path: Path) -> None:
    first = Function(layer.ROOT / "services" / "orders api")
    assert first.zip_name == "function-services-orders-api.zip"
    assert replace(first, folder=layer.ROOT.parent / "orders").zip_name == "function-orders.zip"
    assert Function(tmp_path).zip_name != Function(tmp_path / "other").zip_name


def test_a_layer_of_another_python_is_built_under_a_name_of_its_own(scratch: Project) -> None:
    made = scratch.package("layer", "--arch", "x86_64", "--python", "3.12")
    assert made.returncode == 0, made.stderr
    names = zipfile.ZipFile(scratch.zip("layer-python3.12-x86_64")).namelist()
    assert "python/psycopg2/_psycopg.cpython-312-x86_64-linux-gnu.so" in names
