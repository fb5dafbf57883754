"""local/storm: what is sent, what is counted, and which goals were missed."""

import json
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.storm import __main__ as command
from local.storm import pgbouncer, storm
from local.storm.clients import Environments, Level, schedule
from local.storm.storm import Row, Size, Storm

ROOT = Path(__file__).parents[3]
SIZE = Size((50, 200, 2000))
LEVELS = [Level(**level) for level in SIZE.levels()]  # type: ignore[arg-type]


def row(**changes: object) -> Row:
    whole = Row("through the proxy", 200, 200, 0, 0, 0, "", 1000, 1000.0, 1.0, 2.0, storm.POOL, 100, 100)
    return replace(whole, **changes)  # type: ignore[arg-type]


def missed(*rows: Row) -> list[str]:
    return Storm(SIZE, list(rows), {}, {}).missed()


# --- what is sent ---


@pytest.mark.parametrize("level", range(3))
def test_all_environments_together_offer_the_rate_and_each_is_asked_at_every_level(level: int) -> None:
    here = LEVELS[level]
    due = [
        (number, request.due)
        for number in range(here.environments)
        for request in schedule(number, LEVELS, SIZE.per_second)
        if here.count_from <= request.due < here.end
    ]
    assert len(due) == pytest.approx(SIZE.per_second * SIZE.count_seconds, abs=1)
    assert len({number for number, _ in due}) == here.environments
    tenths = Counter(int((at - here.count_from) * 10) for _, at in due)
    assert all(count == pytest.approx(SIZE.per_second / 10, abs=2) for count in tenths.values())


def test_environments_start_one_after_another_before_their_level_asks() -> None:
    first = [next(schedule(number, LEVELS, SIZE.per_second)).due for number in range(2000)]
    assert first == sorted(first)
    assert first[49] < LEVELS[0].started
    assert LEVELS[1].start <= first[50] < first[199] < LEVELS[1].started
    pace = (first[1999] - first[200]) / 1799
    assert 1 / pace == pytest.approx(SIZE.starts_per_second, rel=0.01)


def test_the_whole_storm_fits_into_its_time() -> None:
    most = 3 * 60
    setting_up = 8  # a database, its proxy and the clients' processes; 5 s on an idle machine
    assert len(storm.ALL) * (Size().levels()[-1]["end"] + setting_up) < most
    assert Size().environments[-1] == 2000


# --- what is counted ---


def counted(*answers: tuple[int, float, str | None]) -> dict[str, object]:
    levels = [Level(3, 0, 1, 2, 10)]
    orders = {
        "levels": [vars(level) for level in levels], "numbers": [0, 1, 2], "begin": 0.0, "per_second": 1.0,
        "settings": dict.fromkeys(("host", "port", "database", "user", "ca_file", "auth", "region")),
        "pins": False, "held_seconds": 0.0,
    }  # fmt: skip
    environments = Environments(orders)
    for number, at, refusal in answers:
        environments._note(number, at, 0.5, refusal)
    return environments.report(0)


def test_an_environment_is_served_refused_or_waiting() -> None:
    found = counted((0, 3, "no"), (0, 4, None), (1, 5, "no"))
    assert (found["served"], found["refused"], found["waiting"]) == (1, 1, 1)
    assert found["answered"] == [0.5]
    assert found["refusals"] == {"no": 2}


def test_what_comes_before_the_counting_or_after_it_is_no_answer_but_a_refusal_is_never_forgotten() -> None:
    found = counted((0, 1.9, None), (0, 10.1, None), (1, 1.0, "no"))
    assert (found["served"], found["answered"], found["waiting"]) == (0, [], 3)
    assert found["refusals"] == {"no": 1}


def test_rows_that_were_acknowledged_and_are_not_kept_are_lost() -> None:
    class Server:
        @contextmanager
        def administrator(self, _: str) -> Iterator[Any]:
            yield SimpleNamespace(execute=lambda _: None, fetchall=lambda: [("a", 1), ("b", 2), ("refused", 1)])

    reports = [
        {"acknowledged": ["a", "b"], "answered_at": [1.0, 6.5]},
        {"acknowledged": ["c"], "answered_at": [2.5]},
    ]
    told = storm._ledger(Server(), reports)  # type: ignore[arg-type]
    assert told == {"silent_seconds": 4.0, "written": 3, "lost": 1, "doubled": 1}


# --- goals ---


def test_a_storm_that_met_its_goals_missed_nothing() -> None:
    assert missed(row(), row(queries_per_second=991.0), row(way="directly", accepted=86, refusals=9)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accepted": 199}, "199 accepted, 0 requests refused; the goal is all and none"),
        ({"refusals": 1}, "200 accepted, 1 requests refused"),
        ({"server_connections": storm.POOL + 1}, "23 server connections; the goal is at most 22"),
        ({"queries_per_second": 989.0}, "989 queries/s of 1000 offered; the goal is within 1 %"),
        ({"queries_per_second": 1011.0}, "1011 queries/s of 1000 offered"),
    ],
)
def test_a_missed_goal_is_said(changes: dict[str, object], words: str) -> None:
    [miss] = missed(row(**changes))
    assert miss.startswith("200 environments through the proxy: ")
    assert words in miss


def test_what_other_programs_took_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storm.os, "cpu_count", lambda: 4)
    before = storm._Use(at=100, own=10, all=1000)
    assert before.others_percent(storm._Use(at=110, own=25, all=1023)) == 20
    assert before.others_percent(storm._Use(at=110, own=25, all=None)) is None


# --- limits ---


def test_too_few_open_files_are_named_before_anything_starts() -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))

    done = subprocess.run(
        [sys.executable, "-m", "local.storm", "--environments", "50,2000"],
        cwd=ROOT, preexec_fn=limited, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert "A storm of 2000 environments needs 4256 open files, but at most 500 are allowed here (ulimit -Hn)" in (
        done.stderr
    )


@pytest.mark.parametrize("given", ["0", "200,50", "x", ""])
def test_numbers_of_environments_must_grow(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["storm", "--environments", given])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert "--environments" in capsys.readouterr().err


# --- a storm ---


def test_a_small_storm_is_answered_as_far_as_the_pool_goes_and_its_json_says_so(tmp_path: Path) -> None:
    """Each environment pins a connection, so that those beyond the pool wait."""
    small = Size((10, 30), per_second=60, starts_per_second=60, settle_seconds=0.1, count_seconds=1)
    done = storm.run(small, (storm.PINNING,))
    whole, full = done.rows
    assert (whole.accepted, whole.refusals, whole.waiting) == (10, 0, 0)
    assert whole.queries_per_second == pytest.approx(60, abs=15)
    assert (full.accepted, full.waiting, full.server_connections) == (storm.POOL, 30 - storm.POOL, storm.POOL)
    assert max(sample.client_connections for sample in done.samples[storm.PINNING.name]) == 30
    done.write(tmp_path / "storm.json")
    assert [row["accepted"] for row in json.loads((tmp_path / "storm.json").read_text())["rows"]] == [10, storm.POOL]


def test_without_pgbouncer_a_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(pgbouncer, "PROGRAM", None)
    assert storm.run(Size((5,)), (storm.PGBOUNCER,)).rows == []
    assert "PgBouncer is not installed, so its rows are left out: apt-get install pgbouncer" in capsys.readouterr().out
