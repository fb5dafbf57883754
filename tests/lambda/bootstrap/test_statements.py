"""The splitter: every statement once, with the line it begins on, whatever is quoted."""

import pytest
from bootstrap import statements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-- nothing;\n/* at; /* all; */ */ ;;", []),
        ("SELECT 1", [(1, "SELECT 1")]),
        ("\nSELECT 1;\n\n-- why\nSELECT\n2 ;", [(2, "SELECT 1"), (5, "SELECT\n2")]),
        ("SELECT ';', \"a;b\", 'it''s;'; SELECT 2", [(1, "SELECT ';', \"a;b\", 'it''s;'"), (1, "SELECT 2")]),
        (r"SELECT E'\';', 'a\'; SELECT 2", [(1, r"SELECT E'\';', 'a\'"), (1, "SELECT 2")]),
        ("SELECT 'a;'\n'b;'; SELECT 2", [(1, "SELECT 'a;'\n'b;'"), (2, "SELECT 2")]),
        ("DO $$ BEGIN; END $$; SELECT 2", [(1, "DO $$ BEGIN; END $$"), (1, "SELECT 2")]),
        ("DO $a$ $b$;$$; $a$; SELECT $1", [(1, "DO $a$ $b$;$$; $a$"), (1, "SELECT $1")]),
        ("SELECT a$b$; SELECT 2", [(1, "SELECT a$b$"), (1, "SELECT 2")]),
        ("SELECT 1 /* ; */ + -- ;\n 1; SELECT 2", [(1, "SELECT 1 /* ; */ + -- ;\n 1"), (2, "SELECT 2")]),
        (
            "CREATE RULE r AS ON DELETE TO t DO (SELECT 1; SELECT 2); SELECT 3",
            [(1, "CREATE RULE r AS ON DELETE TO t DO (SELECT 1; SELECT 2)"), (1, "SELECT 3")],
        ),
        (
            "create or replace function f() returns int begin atomic select case 1 when 1 then 2 end; end; select 3",
            [
                (1, "create or replace function f() returns int begin atomic select case 1 when 1 then 2 end; end"),
                (1, "select 3"),
            ],
        ),
        ("SELECT 'größer; Ü'; SELECT 2", [(1, "SELECT 'größer; Ü'"), (1, "SELECT 2")]),
    ],
)
def test_split(text: str, expected: list[tuple[int, str]]) -> None:
    assert [(statement.line, statement.text) for statement in statements.split(text)] == expected


@pytest.mark.parametrize(
    ("text", "line"), [("SELECT 1;\nSELECT 'a;", 2), ("\n/* a /* b */", 2), ("DO\n$a$ ; $b$", 2), ('SELECT "a', 1)]
)
def test_what_does_not_end_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(statements.UnreadableError) as refusal:
        list(statements.split(text))
    assert refusal.value.line == line


class Counting(str):
    """Count how much of the text is searched for line ends."""

    searched = 0

    def count(self, what: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        Counting.searched += (len(self) if end is None else end) - start
        return super().count(what, start, end)


def test_splitting_reads_a_large_file_once() -> None:
    text = Counting("INSERT INTO t VALUES (1, 'x;y');\n" * 2000)

    assert len(list(statements.split(text))) == 2000
    assert Counting.searched <= len(text)
