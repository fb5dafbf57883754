"""The table of drivers in docs/pinning.md: as the harness has it, and true for the drivers that are at hand here."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drivers import pins, stand

QUICK = [row for row in pins.rows() if row.quick]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stand.Stand]:
    with stand.prepare(tmp_path_factory.mktemp("certificates")) as prepared:
        pins.fill(prepared)
        yield prepared


@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.name)
def test_a_driver_pins_as_the_table_says(filled: stand.Stand, row: pins.Row) -> None:
    reasons, failure = pins.run(row, filled, Path(sys.executable).parent)
    assert (reasons, failure) == ({row.pins} if row.pins else set(), "")


def test_the_page_has_the_table() -> None:
    text = pins.PAGE.read_text()
    assert pins.markdown() in text
    assert pins.page(text) == text


def test_every_setting_names_a_row_that_proves_it() -> None:
    table = {row.name: row for row in pins.rows()}
    for row in table.values():
        assert bool(row.pins) == bool(row.setting) == bool(row.without)
        assert not row.without or not table[row.without].pins
