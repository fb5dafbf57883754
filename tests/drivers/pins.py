"""Run what applications do with each driver through the stand-in, and compare what pinned with the table.

make drivers DRIVER=pins      every row; `python -m tests.drivers.pins --only psycopg` those whose name begins so
python -m tests.drivers.pins --write      the table in docs/pinning.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.drivers import stand as stands

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "pinning.md"
BEGIN, END = "<!-- drivers -->", "<!-- end of drivers -->"
NODE = ROOT / ".venv" / "node"  # where make installs what comes from npm, with a copy of node/
_SCHEMA = """
CREATE TABLE items (id serial PRIMARY KEY, name text);
CREATE TYPE level AS ENUM ('low', 'high');
GRANT ALL ON items, items_id_seq TO other;
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: a driver as it is set, and the reason for which it pins."""

    name: str
    driver: str
    does: str
    pins: str  # empty if it does not
    setting: str = ""
    without: str = ""

    @property
    def quick(self) -> bool:
        """Tell whether `make test` has the driver, and tries it."""
        return self.name.startswith(("psycopg2", "sqlalchemy_psycopg2", "pgbench"))

    @property
    def command(self) -> list[str]:
        if self.name.startswith("pgbench"):
            return ["pgbench", "--no-vacuum", "--transactions=50", "--client=2", f"--protocol={self.name[8:]}"]
        if (HERE / "node" / "clients.js").read_text().find(f"  {self.name}") >= 0:
            return ["node", "clients.js", self.name]
        return ["python", "clients.py", self.name]


def rows() -> list[Row]:
    table = tomllib.loads((HERE / "pins.toml").read_text())
    return [Row(name=name, **row) for name, row in table.items()]


def markdown() -> str:
    """Return the table of docs/pinning.md: a row that only proves another one's setting is told there."""
    table = {row.name: row for row in rows()}
    proofs = {row.without for row in table.values()}
    lines = ["| driver | what it does | pins | what stops it | held by |", "|---|---|---|---|---|"]
    for row in table.values():
        if row.pins or row.does.startswith("defaults") or row.name not in proofs:
            held = "`make test`" if row.quick else "`make drivers`"
            lines.append(f"| {row.driver} | {row.does} | {row.pins or 'no'} | {row.setting} | {held} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the text of docs/pinning.md with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{markdown()}{END}{after}"


def run(row: Row, stand: stands.Stand, folder: Path) -> tuple[set[str], str]:
    """Return the reasons for which this row's client was pinned, and what it said if it failed."""
    stand.pins.reasons.clear()
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        **stand.environment(through=True),
    }
    place = NODE if row.command[0] == "node" else HERE
    done = subprocess.run(
        row.command,
        cwd=place,
        env=environment,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return set(stand.pins.reasons), done.stdout[-1500:] if done.returncode else ""


def fill(stand: stands.Stand) -> None:
    """Make the tables of the clients, and pgbench's."""
    with stand.server.administrator(stands.DATABASE) as cursor:
        cursor.execute(f"CREATE ROLE other ROLE {stands.USER}")
        cursor.execute(f"SET ROLE {stands.USER};" + _SCHEMA)
    environment = {"PATH": os.environ["PATH"], **stand.environment(through=False)}
    subprocess.run(["pgbench", "--initialize", "--quiet"], env=environment, check=True, capture_output=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="begin of the rows' names")
    parser.add_argument("--write", action="store_true", help="only write the table of docs/pinning.md")
    arguments = parser.parse_args()
    if arguments.write:
        PAGE.write_text(page(PAGE.read_text()))
        return 0
    wrong = 0
    with tempfile.TemporaryDirectory() as certificates:
        Path(certificates).chmod(0o755)
        with stands.prepare(Path(certificates)) as stand:
            fill(stand)
            for row in rows():
                if not row.name.startswith(arguments.only):
                    continue
                reasons, failure = run(row, stand, ROOT / ".venv" / "drivers" / "bin")
                right = reasons == ({row.pins} if row.pins else set()) and not failure
                wrong += not right
                print(
                    f"{'ok   ' if right else 'WRONG'} {row.name}: {', '.join(sorted(reasons)) or 'no pin'}", flush=True
                )
                if failure:
                    print(failure)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
