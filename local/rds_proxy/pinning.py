"""Which statements pin a client of RDS Proxy to its database connection, by the rules of the RDS User Guide.

The text decides, as it does there: what a function or a DO block does inside is not seen. SET LOCAL and
set_config(…, true) count as SET: the guide exempts them for MySQL only.
"""

import re
from collections.abc import Iterator

LONGEST_STATEMENT = 16 * 1024
TOO_LONG = "a statement larger than 16 KB"
NAMED = "a named prepared statement"

# Most statements hold none of these words. To search for each takes a third of the time of one regular expression.
_SUSPECT = (
    "set",
    "prepare",
    "discard",
    "deallocate",
    "execute",
    "temp",
    "declare",
    "listen",
    "load",
    "nextval",
    "advisory",
)
_NOT_CODE = re.compile(
    r"""
    --[^\n]*
    | (?P<comment>/\*)                    # its end is searched for: comments nest
    | \b[eE]'(?:\\.|''|[^'\\])*'         # a string with escapes
    | '(?:''|[^'])*'
    | (?<![\w$])(?P<tag>\$(?:[a-zA-Z_]\w*)?\$)  # so is the end of a string between two of these
    | "(?P<identifier>(?:""|[^"])*)"
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_STATEMENTS = (
    (re.compile(r"(re)?set\b", re.IGNORECASE), "SET: a parameter was set or reset"),
    (re.compile(r"(prepare|deallocate|execute)\b", re.IGNORECASE), "SQL-level PREPARE, EXECUTE or DEALLOCATE"),
    (re.compile(r"discard\b", re.IGNORECASE), "DISCARD: session state was discarded"),
    (
        re.compile(r"create\s+(or\s+replace\s+)?((global|local)\s+)?temp(orary)?\b", re.IGNORECASE),
        "a temporary table, view or sequence",
    ),
    (
        re.compile(r"(create\s.*?|select\s.*?\binto\s+(table\s+)?)\bpg_temp\s*\.", re.IGNORECASE | re.DOTALL),
        "a temporary table, view or sequence",
    ),
    (re.compile(r"declare\b", re.IGNORECASE), "DECLARE: a cursor"),
    (re.compile(r"listen\b", re.IGNORECASE), "LISTEN"),
    (re.compile(r"load\b", re.IGNORECASE), "LOAD: a library module"),
)
_ANYWHERE = (
    (re.compile(r"\binto\s+((global|local)\s+)?temp(orary)?\b", re.IGNORECASE), "a temporary table"),
    (re.compile(r"\bset_config\s*\(", re.IGNORECASE), "set_config: a parameter was set"),
    (re.compile(r"\b(nextval|setval)\s*\(", re.IGNORECASE), "nextval or setval"),
    (re.compile(r"\bpg_(try_)?advisory_lock(_shared)?\s*\(", re.IGNORECASE), "a session-level advisory lock"),
)


def pin_reason(sql: str) -> str | None:
    """Return why this text pins, None when it does not."""
    if len(sql) > LONGEST_STATEMENT:
        return TOO_LONG
    lowered = sql.lower()
    for word in _SUSPECT:
        if word in lowered:
            break
    else:
        return None
    code = _code(sql)
    for statement in code.split(";"):
        for pattern, reason in _STATEMENTS:
            if pattern.match(statement.lstrip()):
                return reason
    return next((reason for pattern, reason in _ANYWHERE if pattern.search(code)), None)


_LONGEST_DIGEST = 300
_UNPAIRED = re.compile(r"""['"]|\$(?:[a-zA-Z_]\w*)?\$""")
_SHORTER = (
    (re.compile(r"(?<![\w$])\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?"), "?"),
    (re.compile(r"((?:^|;)\s*set\s+(?:(?:session|local)\s+)?[\w.]+\s*(?:=|\bto\b))[^;]*", re.IGNORECASE), r"\1 ?"),
    (re.compile(r"((?:^|;)\s*set\s+(?:(?:session|local)\s+)?(?:time\s+zone|names)\b)[^;]*", re.IGNORECASE), r"\1 ?"),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\?(?: ?, ?\?)+"), "?, …"),
    (re.compile(r"(\(\?(?:, …)?\))(?: ?, ?\(\?(?:, …)?\))+"), r"\1, …"),
)


def digest(sql: str) -> str:
    """Return a statement without the data in it: literals, what SET assigns, comments.

    Where a string does not end, or would end elsewhere with `standard_conforming_strings` off, the rest is data.
    """
    parts = []
    for kind, text in _pieces(sql):
        if kind == "string":
            parts.append("?")
            if text[0] == "'" and "\\" in text:
                break
        else:
            parts.append({"comment": " ", "identifier": re.sub(r"\W", "_", text)}.get(kind, text))
    code = "".join(parts)
    if unpaired := _UNPAIRED.search(code):
        code = code[: unpaired.start()] + "?"
    for pattern, replacement in _SHORTER:
        code = pattern.sub(replacement, code)
    code = "".join(character if character.isprintable() else "?" for character in code.strip())
    return code if len(code) <= _LONGEST_DIGEST else code[: _LONGEST_DIGEST - 1] + "…"


def _code(sql: str) -> str:
    """Leave out comments and the content of strings; write quoted identifiers without their quotes."""
    return "".join(
        {"comment": " ", "string": "''", "identifier": re.sub(r"\W", "_", text)}.get(kind, text)
        for kind, text in _pieces(sql)
    )


def _pieces(sql: str) -> Iterator[tuple[str, str]]:
    """Cut a text into code, comments, strings, and quoted identifiers without their quotes."""
    position = 0
    while found := _NOT_CODE.search(sql, position):
        start, end, kind = found.start(), found.end(), "string"
        if found["comment"]:
            end, kind = _end_of_comment(sql, end), "comment"
        elif found["tag"]:
            end = sql.find(found["tag"], end) + len(found["tag"])
            if end < found.end():  # it never ends
                end, kind = start + 1, "code"
        elif found["identifier"] is not None:
            kind = "identifier"
        elif found[0].startswith("--"):
            kind = "comment"
        yield "code", sql[position:start]
        yield kind, sql[start:end] if found["identifier"] is None else found["identifier"]
        position = end
    yield "code", sql[position:]


def _end_of_comment(text: str, position: int) -> int:
    """Return where the comment that began before `position` ends; one that never does has the rest."""
    open_comments = 1
    while open_comments and (edge := _COMMENT_EDGE.search(text, position)):
        open_comments += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return len(text) if open_comments else position
