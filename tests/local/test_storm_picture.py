"""local/storm/picture.py: what was measured, and nothing else, as an SVG that can be read."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from local.storm.picture import BOTTOM, HEIGHT, WIDTH, Limit, Line, draw

SVG = "{http://www.w3.org/2000/svg}"
CLIENTS = Line("clients <all>", "#0969da", [(0.2, 0), (1.0, 100), (4.0, 200)])
SERVER = Line("database", "#1a7f37", [(0.2, 0), (1.0, 22), (4.0, 22)])


def drawn(*lines: Line, limits: tuple[Limit, ...] = (Limit("pool = 22", 22),)) -> ElementTree.Element:
    return ElementTree.fromstring(draw("A storm", "a note & more", lines or (CLIENTS, SERVER), limits))  # noqa: S314


def points(picture: ElementTree.Element) -> list[list[tuple[float, float]]]:
    found = [line.attrib["points"].split() for line in picture.iter(f"{SVG}polyline")]
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line)] for line in found]


def texts(picture: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {str(text.text): text for text in picture.iter(f"{SVG}text")}


def test_each_sample_is_a_point_in_proportion() -> None:
    clients, server = points(drawn())
    assert (len(clients), len(server)) == (3, 3)
    base = clients[0][1]
    assert base == server[0][1] == HEIGHT - BOTTOM
    assert base - clients[2][1] == pytest.approx(2 * (base - clients[1][1]), abs=0.1)
    assert base - server[2][1] == pytest.approx(0.11 * (base - clients[2][1]), abs=0.1)
    assert clients[2][0] - clients[0][0] == pytest.approx(3.8 / 0.8 * (clients[1][0] - clients[0][0]), abs=1)


def test_everything_lies_within_the_picture() -> None:
    for line in points(drawn(limits=(Limit("far above", 990),))):
        assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in line)
    assert "1000" in texts(drawn(limits=(Limit("far above", 990),)))


def test_lines_and_limits_are_named_and_no_label_lies_on_another() -> None:
    found = texts(drawn(limits=(Limit("pool = 22", 22), Limit("the same = 22", 22))))
    places = sorted(
        float(found[label].attrib["y"]) for label in ("clients <all>", "database", "pool = 22", "the same = 22")
    )
    assert all(below - above >= 15 for above, below in pairwise(places))
    assert found["database"].attrib["fill"] == SERVER.colour


def test_it_says_in_words_what_it_shows() -> None:
    picture = drawn()
    assert picture.findtext(f"{SVG}title") == "A storm"
    assert picture.findtext(f"{SVG}desc") == "clients <all>: at most 200; database: at most 22"
    assert "a note & more" in texts(picture)
