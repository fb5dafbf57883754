"""local/storm/picture.py: what was measured, and nothing else, as an SVG that can be read in light and dark."""

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from local.storm import picture
from local.storm.picture import BOTTOM, HEIGHT, TOP, WIDTH, Limit, Line, Panel, draw

SVG = "{http://www.w3.org/2000/svg}"
PICTURES = Path(__file__).parents[3] / "docs" / "pictures"
CLIENTS = Line("clients <all>", "blue", [(0.0, 0), (1.0, 100), (4.0, 200)])
SERVER = Line("database", "green", [(0.0, 0), (1.0, 22), (4.0, 22)])


def drawn(*lines: Line, **options: Any) -> ElementTree.Element:
    panel = Panel("connections", "seconds", lines or (CLIENTS, SERVER), **options)
    return ElementTree.fromstring(draw("A storm", "a note & more", [panel]))  # noqa: S314


def points(picture: ElementTree.Element) -> list[list[tuple[float, float]]]:
    found = [line.attrib["points"].split() for line in picture.iter(f"{SVG}polyline")]
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line)] for line in found]


def texts(picture: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {str(text.text): text for text in picture.iter(f"{SVG}text")}


@pytest.fixture(scope="module")
def checked_in() -> Any:
    return json.loads((PICTURES / "storm.json").read_text(encoding="utf-8"))


def test_each_measurement_is_a_point_in_proportion() -> None:
    clients, server = points(drawn())
    assert (len(clients), len(server)) == (3, 3)
    base = clients[0][1]
    assert base == server[0][1] == HEIGHT - BOTTOM
    assert base - clients[2][1] == pytest.approx(2 * (base - clients[1][1]), abs=0.2)
    assert base - server[2][1] == pytest.approx(0.11 * (base - clients[2][1]), abs=0.2)
    assert clients[2][0] - clients[0][0] == pytest.approx(4 * (clients[1][0] - clients[0][0]), abs=0.5)


def test_on_a_logarithmic_axis_each_factor_has_one_length_and_zero_stands_below() -> None:
    [line] = points(drawn(Line("a", "red", [(10, 10), (100, 100), (1000, 1000), (2000, 0)]), **LOGARITHMIC))
    (x0, y0), (x1, y1), (x2, y2), (_, lowest) = line
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert lowest == y0 == HEIGHT - BOTTOM


LOGARITHMIC = {"logarithmic": True, "logarithmic_axis": True, "ticks": (10, 100, 1000, 2000)}


@pytest.mark.parametrize("options", [{}, LOGARITHMIC])
@pytest.mark.parametrize("most", [1, 7, 86, 1000, 2000])
def test_everything_lies_within_the_panel(most: float, options: dict[str, Any]) -> None:
    lines = Line("a", "red", [(10, 1), (100, most), (2000, 0.5 * most)])
    for line in points(drawn(lines, **options)):
        assert all(0 < x < WIDTH and TOP <= y <= HEIGHT - BOTTOM for x, y in line)


def test_two_panels_stand_side_by_side() -> None:
    panels = [Panel(name, "x", [CLIENTS]) for name in ("one", "two")]
    left, right = points(ElementTree.fromstring(draw("t", "n", panels)))  # noqa: S314
    assert max(x for x, _ in left) < min(x for x, _ in right)
    assert [y for _, y in left] == [y for _, y in right]


def test_lines_and_limits_are_named_and_no_name_lies_on_another() -> None:
    found = texts(drawn(limits=(Limit("pool = 22", 22),)))
    assert "pool = 22" in found
    places = [float(found[line.label].attrib["x"]) for line in (CLIENTS, SERVER)]
    assert all(after - before > 6 * len(CLIENTS.label) for before, after in pairwise(places))


def test_the_legend_of_all_ways_is_not_wider_than_the_picture(checked_in: Any) -> None:
    found = texts(ElementTree.fromstring(picture.of_environments(checked_in)))  # noqa: S314
    ways = list(dict.fromkeys(row["way"] for row in checked_in["rows"]))
    assert len(ways) >= 4
    assert all(float(found[way].attrib["x"]) + 6.4 * len(way) < WIDTH for way in ways)


def test_it_says_in_words_what_it_shows() -> None:
    shown = drawn()
    assert shown.findtext(f"{SVG}title") == "A storm"
    assert shown.findtext(f"{SVG}desc") == (
        "connections, clients <all>: 200 at the end, at most 200; connections, database: 22 at the end, at most 22"
    )
    assert "a note & more" in texts(shown)


def test_every_colour_has_a_light_and_a_dark_one() -> None:
    shown = drawn()
    light, dark = str(shown.findtext(f"{SVG}style")).split("@media (prefers-color-scheme: dark)")
    used = {str(e.attrib["class"]) for e in shown.iter() if "class" in e.attrib}
    assert used == {"paper", "ink", "faint", "grid", "blue", "green"}
    for name in used:
        assert f".{name} {{" in light
        assert f".{name} {{" in dark


def test_the_picture_of_the_pages_is_drawn_from_the_data_beside_it(checked_in: Any) -> None:
    """After another storm: python -m local.storm.picture docs/pictures/storm.json docs/pictures/storm.svg"""
    assert (PICTURES / "storm.svg").read_text(encoding="utf-8") == picture.of_environments(checked_in)


def test_the_table_of_the_page_is_that_of_the_data(checked_in: Any) -> None:
    page = (PICTURES.parent / "scale.md").read_text(encoding="utf-8")
    shown = [row for row in checked_in["rows"] if row["environments"] in (50, 200, 2000)]
    assert len(shown) >= 12
    for row in shown:
        times = [row["p50_milliseconds"], row["p99_milliseconds"]]
        cells = [
            row["way"], *(f"{row[name]:,}" for name in ("environments", "accepted", "refused", "waiting")),
            f"{row['queries_per_second']:,.0f}", *("" if time is None else f"{time:,.1f}" for time in times),
            str(row["server_connections"]),
        ]  # fmt: skip
        assert f"| {' | '.join(cells)} |" in page


def test_its_note_has_the_numbers_of_the_data(checked_in: Any) -> None:
    other = copy.deepcopy(checked_in)
    for row in other["rows"]:
        if row["way"] == "directly":
            row["accepted"] = 77
    assert "1,923 directly" in picture.of_environments(other)
