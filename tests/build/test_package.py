"""The zips: what is in them, and that the same sources always give the same bytes."""

import marshal
import os
import re
import stat
import sys
import zipfile
import zlib
from importlib.metadata import distributions
from pathlib import Path
from types import CodeType

import pytest

from build.archive import write_zip
from tests.build.project import ROOT, Project

needs_python_313 = pytest.mark.skipif(
    sys.implementation.cache_tag != "cpython-313", reason="only Lambda's Python compiles the layer's modules"
)


def test_handlers_and_migrations_are_where_lambda_looks(packages: Project) -> None:
    assert "handler.py" in zipfile.ZipFile(packages.zip("function")).namelist()
    bootstrap = zipfile.ZipFile(packages.zip("bootstrap")).namelist()
    assert {"bootstrap/handler.py", "bootstrap/migrations/0001_users.sql"} <= set(bootstrap)


def test_same_bytes_in_another_folder_umask_time_zone_and_locale(packages: Project, tmp_path: Path) -> None:
    other = Project.copy(tmp_path / "another folder", packages.root)
    for path in (other.root / "lambda").rglob("*"):
        os.utime(path, (2_000_000_000, 2_000_000_000))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    environment = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
    other.make_all(environment=environment, umask=0o077)
    assert other.zips() == packages.zips()


def test_an_application_s_own_migrations_make_a_package_of_their_own(scratch: Project, tmp_path: Path) -> None:
    migrations = {
        "0001_orders.sql": "CREATE TABLE orders (id bigint);",
        "0002_index.sql": "CREATE INDEX ON orders (id);",
    }
    made = []
    for place in ("here/orders", "there/orders"):
        folder = tmp_path / place / "migrations"
        folder.mkdir(parents=True)
        for name, text in migrations.items():
            (folder / name).write_text(text)
        (folder / "README.md").write_text("Notes.")
        done = scratch.package("bootstrap", "--migrations", str(folder))
        assert (done.returncode, done.stdout.split(":")[0]) == (0, "build/output/bootstrap-orders.zip"), done.stderr
        made.append(scratch.zip("bootstrap-orders").read_bytes())
    assert made[0] == made[1]

    archive = zipfile.ZipFile(scratch.zip("bootstrap-orders"))
    prefix = "bootstrap/migrations/"
    names = [name.removeprefix(prefix) for name in archive.namelist() if name.startswith(prefix)]
    assert {name: archive.read(prefix + name).decode() for name in names} == migrations
    shipped = zipfile.ZipFile(ROOT / "build" / "output" / "bootstrap.zip").namelist()
    assert [name for name in archive.namelist() if not name.startswith(prefix)] == [
        name for name in shipped if not name.startswith(prefix)
    ]


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (
            "orders/migrations/0001_orders.sql",
            "BEGIN; SELECT 1; COMMIT;",
            "0001_orders.sql:1: a file is one transaction",
        ),
        ("orders/migrations/orders.sql", "SELECT 1;", "orders.sql is not named like 0001_users.sql"),
        ("orders/migrations/README.md", "Notes.", "holds no migrations"),
        ("my orders/migrations/0001_orders.sql", "SELECT 1;", "use letters, digits"),
    ],
)
def test_migrations_that_the_function_would_refuse_make_no_package(
    scratch: Project, tmp_path: Path, path: str, text: str, said: str
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    made = scratch.package("bootstrap", "--migrations", str(file.parent))
    assert (made.returncode, said in made.stderr) == (1, True), made.stderr
    assert not scratch.zip("bootstrap-orders").exists()


def test_a_tool_s_folder_is_packaged_with_what_it_requires(packages: Project, scratch: Project, tmp_path: Path) -> None:
    """Where its revisions can be listed, which a folder without any is not."""
    output = scratch.root / "build" / "output"
    output.mkdir(exist_ok=True)
    (output / "layer-x86_64.zip").symlink_to(packages.zip("layer-x86_64"))
    folder = tmp_path / "orders" / "migrations"
    (folder / "versions").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "tool-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tool.py", "REVISIONS = []\n")
        wheel.writestr("tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n")
        wheel.writestr("tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tool-1.0.dist-info/RECORD", "")
    (folder / "uv.toml").write_text(f'[pip]\nno-index = true\nfind-links = ["{tmp_path}"]\n')
    (folder / "requirements.txt").write_text("tool==1.0\n")
    (folder / "versions" / "one.py").write_text("")
    hook = "import tool\n\n\ndef revisions():\n    return {}\n\n\ndef upgrade(connection, revision):\n    pass\n"

    (folder / "migrate.py").write_text(hook.format("tool.REVISIONS"))
    refused = scratch.package("bootstrap", "--migrations", str(folder))
    assert refused.stderr.strip() == f"bootstrap-orders.zip was not made: {folder}: migrate.py lists no revisions."
    assert not scratch.zip("bootstrap-orders").exists()

    (folder / "migrate.py").write_text(hook.format('["one"]'))
    made = []
    for _ in range(2):
        assert scratch.package("bootstrap", "--migrations", str(folder)).returncode == 0
        made.append(scratch.zip("bootstrap-orders").read_bytes())
    assert made[0] == made[1]
    modules = {name for name in zipfile.ZipFile(scratch.zip("bootstrap-orders")).namelist() if name.endswith(".py")}
    prefix = "bootstrap/migrations/"
    assert {name for name in modules if name.startswith(prefix)} == {
        prefix + name for name in ("migrate.py", "tool.py", "versions/one.py")
    }
    assert "bootstrap/handler.py" in modules


def test_bytes_do_not_depend_on_zlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "text").write_bytes(b"compressed " * 100)
    monkeypatch.setattr(zlib, "compressobj", None)
    write_zip(tmp_path / "tree.zip", tmp_path / "tree")
    assert (tmp_path / "tree.zip").stat().st_size < 200
    assert zipfile.ZipFile(tmp_path / "tree.zip").read("text") == b"compressed " * 100


@pytest.mark.parametrize(("name", "size"), [("layer-x86_64", 4_400_000), ("layer-arm64", 6_000_000)])
def test_a_layer_is_small(packages: Project, name: str, size: int) -> None:
    """The wheel of psycopg2 for arm64 has larger libraries inside."""
    assert packages.zip(name).stat().st_size <= size


@pytest.mark.parametrize("name", ["layer-x86_64", "layer-arm64", "function", "bootstrap", "frameworks"])
def test_entries_tell_nothing_of_the_machine(packages: Project, name: str) -> None:
    entries = zipfile.ZipFile(packages.zip(name)).infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    for entry in entries:
        assert (entry.date_time, entry.extra, entry.comment) == ((1980, 1, 1, 0, 0, 0), b"", b"")
        assert stat.filemode(entry.external_attr >> 16) == "-rw-r--r--"


def test_the_layer_holds_the_library_psycopg2_and_its_licence(layer: Path) -> None:
    [psycopg2] = distributions(path=[str(layer / "python")])
    pins = (ROOT / "build" / "requirements" / "layer.in").read_text()
    assert f"{psycopg2.name}=={psycopg2.version}" in pins.split()
    assert psycopg2.read_text("licenses/LICENSE")
    assert (layer / "python" / "lambda_postgres" / "__init__.py").exists()


def test_the_second_layer_is_unpacked_into_the_first_and_overwrites_nothing(packages: Project) -> None:
    first, second = (set(zipfile.ZipFile(packages.zip(name)).namelist()) for name in ("layer-x86_64", "frameworks"))
    assert not first & second
    assert "python/lambda_postgres/__init__.py" in first
    assert {
        f"python/lambda_postgres/{name}.py" for name in ("framework", "sqlalchemy", "psycopg", "django/base")
    } <= second
    assert all(name.startswith("python/lambda_postgres/") for name in second)


def test_installers_leave_nothing(layer: Path) -> None:
    assert {path.name for path in layer.iterdir()} == {"certificates", "licenses", "python", "sbom.cdx.json"}
    packages = {path.name for path in (layer / "python").iterdir()}
    assert packages - {"lambda_postgres", "psycopg2", "psycopg2_binary.libs"} == {"psycopg2_binary-2.9.13.dist-info"}
    assert not {"INSTALLER", "RECORD", "REQUESTED", ".lock"} & {path.name for path in layer.rglob("*")}


@needs_python_313
def test_every_module_that_functions_use_is_compiled_for_opt_and_never_checked_again(layer: Path) -> None:
    modules = {path.relative_to(layer / "python") for path in layer.rglob("*.py")}
    rare = {
        Path("psycopg2/errorcodes.py"),
        Path("psycopg2/pool.py"),
        Path("psycopg2/tz.py"),
        Path("lambda_postgres/guard.py"),
    }
    assert rare < modules
    modules -= rare
    for module in modules:
        compiled = (layer / "python" / module.parent / "__pycache__" / f"{module.stem}.cpython-313.pyc").read_bytes()
        assert int.from_bytes(compiled[4:8], "little") == 0b01  # PEP 552: by hash, unchecked
        code = marshal.loads(compiled[16:])  # noqa: S302
        assert isinstance(code, CodeType)
        assert code.co_filename == f"/opt/python/{module}"
    assert len(modules) == len([*layer.rglob("*.pyc")])


def test_a_wheel_with_another_hash_is_refused(scratch: Project) -> None:
    requirements = scratch.root / "build" / "requirements" / "layer.txt"
    requirements.write_text(re.sub(r"sha256:\w+", f"sha256:{'0' * 64}", requirements.read_text()))
    made = scratch.package("layer", "--arch", "x86_64", "--with", "wheels")
    assert made.returncode == 1
    assert "layer-x86_64.zip was not made: uv failed." in made.stderr
    assert not scratch.zip("layer-x86_64").exists()
