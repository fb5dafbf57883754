"""Run the suites of real PostgreSQL clients directly and through the stand-in for RDS Proxy, and compare.

    make drivers DRIVER=psycopg [SOURCES=folder]

The sources come from public repositories and the Python index; a folder that has them may be named instead.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.drivers import stand as stands

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".venv" / "suites"
OUTPUT = ROOT / "build" / "output" / "drivers"
PYTHON = ROOT / ".venv" / "drivers" / "bin"

_DJANGO = """
_database = {{
    "ENGINE": "django.db.backends.postgresql", "HOST": "localhost", "PORT": "{PGPORT}", "USER": "{PGUSER}",
    "PASSWORD": "{PGPASSWORD}", "OPTIONS": {{"sslmode": "require"}},
}}
DATABASES = {{"default": {{**_database, "NAME": "django"}}, "other": {{**_database, "NAME": "django2"}}}}
SECRET_KEY = "suite"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
"""
_DJANGO_LINE = re.compile(r"^(\w+ \([\w.]+\)).*?(?:\.\.\. |^)(ok|FAIL|ERROR|skipped|expected failure)?", re.MULTILINE)


@dataclass
class Run:
    """What became of each test of one run."""

    outcomes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    pins: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    cut_off: bool = False  # by the limit of time

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.outcomes.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="+")
    parser.add_argument("--sources", type=Path, help="a folder with a folder of sources for each suite")
    parser.add_argument("--seconds", type=int, default=1200, help="for one run of one suite")
    arguments = parser.parse_args()
    table = tomllib.loads((HERE / "suites.toml").read_text())
    names = [name for name in table if arguments.suites == ["all"] or name in arguments.suites]
    if not names:
        parser.error(f"no such suite; there are {', '.join(table)}")
    return max(_compare(name, table[name], arguments.sources, arguments.seconds) for name in names)


def _compare(name: str, suite: dict[str, Any], sources: Path | None, seconds: int) -> int:
    folder = _sources(name, suite["source"], sources)
    runs = {}
    with tempfile.TemporaryDirectory() as certificates:
        Path(certificates).chmod(0o755)
        with stands.prepare(Path(certificates), superuser=True) as stand:
            for way in ("direct", "through"):
                stand.reset(suite.get("setup", ""))
                runs[way] = _run(suite, folder, stand, through=way == "through", seconds=seconds)
                print(f"{name} {way}: {dict(runs[way].counts)}, {runs[way].seconds:.0f} s", flush=True)
    direct, through = runs["direct"], runs["through"]
    passed = {"passed"}
    worse = sorted(
        test
        for test, outcome in direct.outcomes.items()
        if outcome in passed
        and through.outcomes.get(test) not in passed
        and not (through.cut_off and test not in through.outcomes)
    )
    expected = suite.get("differs", {})
    reasons = {test: next((why for names, why in expected.items() if re.search(names, test)), None) for test in worse}
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{name}.json").write_text(
        json.dumps(
            {
                "direct": direct.counts,
                "through": through.counts,
                "seconds": [round(direct.seconds), round(through.seconds)],
                "pins": through.pins,
                "errors": through.errors,
                "differs": reasons,
            },
            indent=1,
        )
    )
    for way, run in runs.items():
        if run.cut_off:
            print(f"  {way}: cut off after {seconds} s; only tests that ran both ways are compared")
    for why, count in Counter(reasons.values()).items():
        print(f"  {count} differ: {why or 'UNEXPECTED'}")
    for test in [test for test in worse if reasons[test] is None][:40]:
        print(f"    {test}: {through.outcomes.get(test, 'not run')}")
    for error in through.errors[:5]:
        print(f"  the stand-in said: {error}")
    return int(None in reasons.values() or bool(through.errors) or direct.cut_off or through.cut_off)


def _sources(name: str, source: dict[str, str], given: Path | None) -> Path:
    """Return a fresh copy of the sources, brought here once."""
    label = source.get("package") or source["git"].rsplit("/", 1)[1]
    version = source.get("version") or source["tag"]
    kept = CACHE / f"{label}-{version.replace('/', '-')}"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            found = Path(temporary) / "found"
            if given is not None:
                shutil.copytree(given / label, found, symlinks=True)
            elif "git" in source:
                subprocess.run(
                    ["git", "clone", "--quiet", "--depth=1", f"--branch={version}", source["git"], str(found)],
                    check=True,
                )
            else:
                found = _unpacked(label, version, Path(temporary))
            found.rename(kept)
    work = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    shutil.copytree(kept, work / label, symlinks=True, dirs_exist_ok=True)
    return work / label


def _unpacked(package: str, version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package]
    subprocess.run([*command, f"{package}=={version}", "--dest", str(folder)], check=True)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    [found] = (folder / "unpacked").iterdir()
    return found


def _run(suite: dict[str, Any], sources: Path, stand: stands.Stand, *, through: bool, seconds: int) -> Run:
    folder = sources / suite.get("folder", ".")
    postgres = stand.environment(through=through)
    ca_file = postgres["PGSSLROOTCERT"]
    junit = folder / "junit.xml"
    places = {
        "junit": str(junit),
        "dsn": " ".join(
            f"{key}={postgres[name]}"
            for key, name in (("host", "PGHOST"), ("port", "PGPORT"), ("user", "PGUSER"), ("dbname", "PGDATABASE"))
        )
        + f" password={stands.PASSWORD} sslmode=require",
        "url": f"{stands.USER}:{stands.PASSWORD}@{stands.HOST}:{postgres['PGPORT']}/{stands.DATABASE}",
    }
    environment = {
        "HOME": str(folder),
        "PATH": f"{PYTHON}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "NODE_EXTRA_CA_CERTS": ca_file,
        "NODE_PATH": str(ROOT / ".venv" / "node" / "node_modules"),
        "PYTEST_TIMEOUT": "30",
        **{name: value for name, value in postgres.items() if name != "PGSSLROOTCERT"},
        **suite.get("environment", {}),
    }
    (folder / "suite_settings.py").write_text(_DJANGO.format(**postgres))
    run = Run()
    started = time.monotonic()
    if "files" in suite:
        for file in sorted(folder.glob(suite["files"])):
            name = str(file.relative_to(folder))
            command = [part.format(file=name) for part in suite["command"]]
            run.outcomes[name] = _one_file(command, folder, environment)
    else:
        junit.unlink(missing_ok=True)
        command = [part.format(**places) for part in suite["command"]]
        output, run.cut_off = _call(command, folder, environment, seconds)
        run.outcomes = _junit(junit) if junit.exists() else _django(output)
        OUTPUT.mkdir(parents=True, exist_ok=True)
        (OUTPUT / f"{sources.name}-{'through' if through else 'direct'}.log").write_text(output)
    run.seconds = time.monotonic() - started
    run.pins, run.errors = Counter(stand.pins.reasons), list(stand.pins.errors)
    return run


def _call(command: list[str], folder: Path, environment: dict[str, str], seconds: int) -> tuple[str, bool]:
    """Return what a command said, and whether it was ended for lack of time."""
    command = ["timeout", "--signal=INT", "--kill-after=20", str(seconds), *command]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=False,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout, done.returncode in (124, 137)


def _one_file(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["timeout", "60", *command],
        cwd=folder,
        env=environment,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        with (OUTPUT / "node.log").open("a") as log:
            log.write(f"=== {command} {environment['PGPORT']} {done.returncode}\n{done.stdout[-3000:]}\n")
    return "passed" if done.returncode == 0 else "failed"


def _junit(file: Path) -> dict[str, str]:
    outcomes = {}
    for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314 (pytest has written it)
        kinds = {child.tag for child in case}
        outcome = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "passed")
        name = f"{case.get('classname')}::{case.get('name')}"
        outcomes[name] = outcome if outcomes.get(name, "passed") == "passed" else outcomes[name]
    return outcomes


def _django(output: str) -> dict[str, str]:
    """Read what unittest says of each test with --verbosity=2: its name, perhaps a line of text, and the outcome."""
    outcomes, name = {}, None
    for line in output.splitlines():
        if found := re.match(r"(\w+ \([\w.]+\))", line):
            name = found[1]
        if name and (found := re.search(r"\.\.\. (ok|FAIL|ERROR|skipped|expected failure)", line)):
            outcomes[name] = {"ok": "passed", "FAIL": "failure", "ERROR": "error"}.get(found[1], "skipped")
            name = None
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
