"""Read SQL: which statements would pin a session of RDS Proxy, which outlive their loan, which end a transaction.

What pins is for development and tests: with DB_PINNING_GUARD set, each shape of such a statement is logged once while
running. The rules are those of the RDS user guide; where it leaves a case open, the answer is the careful one.
"""

from __future__ import annotations

import re

_MAX_BYTES = 16 * 1024

_QUOTED = re.compile(
    r"""
      --[^\n]*                          # comments
    | /\*
    | \b[eE]'(?:[^'\\]|\\.|'')*'        # string literals
    | '(?:[^']|'')*'
    | (?<![\w$])\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$
    | "(?P<name>(?:[^"]|"")*)"          # identifiers, which may hold what looks like one of the others
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")

_COMMANDS = {
    "SET": "SET changes a session parameter; use ALTER ROLE … SET",
    "RESET": "RESET changes a session parameter",
    "PREPARE": "PREPARE makes a prepared statement",
    "EXECUTE": "EXECUTE runs a prepared statement",
    "DEALLOCATE": "DEALLOCATE drops a prepared statement",
    "DISCARD": "DISCARD discards session state",
    "DECLARE": "DECLARE opens a cursor; use a client-side cursor and LIMIT",
    "LISTEN": "LISTEN waits for notifications",
    "LOAD": "LOAD loads a library module",
}
_TEMPORARY = re.compile(
    r"^CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:GLOBAL|LOCAL)\s+)?TEMP(?:ORARY)?\s|\bINTO\s+(?:LOCAL\s+|GLOBAL\s+)?TEMP(?:ORARY)?\s"
    r"|^CREATE\s.*?\bpg_temp\s*\.|^SELECT\s.*?\bINTO\s+(?:TABLE\s+)?pg_temp\s*\.",
    re.IGNORECASE | re.DOTALL,
)
_CALL = re.compile(
    r"\b(set_config|nextval|setval|pg_(?:try_)?advisory_lock(?:_shared)?)\s*\(",
    re.IGNORECASE,
)
_CALLS = {
    "set_config": "set_config changes a session parameter; use ALTER ROLE … SET",
    "nextval": "nextval reads a sequence; use an identity column and RETURNING",
    "setval": "setval changes a sequence",
}


def explain_pinning(sql: str | bytes) -> str | None:
    """Tell why this text would pin a session of RDS Proxy; None when it would not.

    SET LOCAL and set_config(…, true) are reported: the guide exempts them for MySQL only. What happens inside a
    function is invisible to the proxy, and to this.
    """
    size = len(sql if isinstance(sql, bytes) else sql.encode())
    if size > _MAX_BYTES:
        return f"the statement has {size} bytes, more than {_MAX_BYTES}"
    for statement in _bare(sql).split(";"):
        if reason := _explain(statement.strip()):
            return reason
    return None


# What ends with its transaction is not here: SET LOCAL, SET TRANSACTION, set_config(…, true).
_LASTING = (
    (re.compile(r"SET\s+(?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b)", re.IGNORECASE), "a SET"),
    (re.compile(r"PREPARE\s+(?!TRANSACTION\b)", re.IGNORECASE), "a prepared statement"),
    (re.compile(r"LISTEN\b", re.IGNORECASE), "a LISTEN"),
    (re.compile(r"LOAD\b", re.IGNORECASE), "a library"),
    (re.compile(r"DECLARE\b.*?\bWITH\s+HOLD\b", re.IGNORECASE | re.DOTALL), "a cursor"),
)
_LASTING_CALL = re.compile(
    r"\bset_config\s*\((?![^()]*,\s*true\s*\))|\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(", re.IGNORECASE
)
_WRITABLE = re.compile(r"\b(?:READ\s+WRITE|transaction_read_only)\b", re.IGNORECASE)
_ENDING = re.compile(
    r"(?:COMMIT|END|PREPARE\s+TRANSACTION)\b|(?:ROLLBACK|ABORT)\b(?!.*\bTO\b)", re.IGNORECASE | re.DOTALL
)


def explain_lasting(sql: str | bytes) -> tuple[str | None, bool, bool]:
    """Tell what this text leaves in the session, whether it ends its transaction, and whether it lets that write."""
    lasting, ends, bare = None, False, _bare(sql)
    writable = _WRITABLE.search(bare) is not None
    for statement in map(str.strip, bare.split(";")):
        ends = ends or _ENDING.match(statement) is not None
        found = next((what for shape, what in _LASTING if shape.match(statement)), None)
        if found is None and _TEMPORARY.search(statement):
            found = "something temporary"
        if found is None and _LASTING_CALL.search(statement):
            found = "a setting or lock of the session"
        lasting = lasting or (found and f"left with {found}")
    return lasting, ends, writable


def shape_of(sql: str | bytes) -> str:
    """Return a text without its values, comments and needless space."""
    return " ".join(_NUMBER.sub("?", _bare(sql)).split())[:500]


def _explain(statement: str) -> str | None:
    command = re.match(r"[A-Za-z]+", statement)
    if command and command[0].upper() in _COMMANDS:
        return _COMMANDS[command[0].upper()]
    if _TEMPORARY.search(statement):
        return "a temporary table, view or sequence belongs to the session"
    if call := _CALL.search(statement):
        name = call[1].lower()
        return _CALLS.get(name) or f"{name} locks for the session; use pg_advisory_xact_lock"
    return None


def _bare(sql: str | bytes) -> str:
    """Leave out comments and what stands inside literals; write a quoted identifier as a plain one."""
    text = sql.decode(errors="replace") if isinstance(sql, bytes) else sql
    parts, position = [], 0
    while match := _QUOTED.search(text, position):
        if match["name"] is not None:
            stand_in = re.sub(r"\W", "_", match["name"])
        else:
            stand_in = " " if match[0][:2] in ("--", "/*") else "''"
        parts += [text[position : match.start()], stand_in]
        position = _comment_end(text, match.start()) if match[0] == "/*" else match.end()
    parts.append(text[position:])
    return "".join(parts)


def _comment_end(text: str, start: int) -> int:
    """Find the end of a comment, which may hold comments."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
