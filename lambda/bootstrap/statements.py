"""Split an SQL file into its statements, so that an error can name the line and each can be sent alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
      (?P<space>      \s+ | --[^\n]* )
    | (?P<comment>    /\* )
    | (?P<dollar>     \$(?:[^\W\d]\w*)?\$ )
    | (?P<escaped>    \b[eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<quoted>     '(?:[^']|'')*' | "(?:[^"]|"")*" )
    | (?P<unclosed>   ['"] )
    | (?P<word>       [^\W\d][\w$]* )
    | (?P<number>     \d[\w.]* )
    | (?P<other>      . )
    """,
    re.VERBOSE | re.DOTALL,
)
LONGEST_NAME_BYTES = 63  # PostgreSQL cuts a longer name

_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ROUTINE = re.compile(r"CREATE (OR REPLACE )?(FUNCTION|PROCEDURE) ")


@dataclass(frozen=True)
class Statement:
    text: str
    line: int
    keywords: str  # its first words, in upper case


class UnreadableError(ValueError):
    """The text is no SQL that can be sent statement by statement; the message says why."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


def split(text: str) -> Iterator[Statement]:
    """Yield the statements of an SQL text, each with the line it begins on.

    A semicolon ends a statement unless it is quoted, in parentheses (CREATE RULE) or in a BEGIN ATOMIC body. What only
    psql understands is refused: its commands, and COPY from or to itself.
    """
    start: int | None = None
    end = depth = block = 0
    line, counted = 1, 0  # lines are counted once, so that a file of many statements takes linear time
    words: list[str] = []
    for kind, begin, finish in _tokens(text):
        part = text[begin:finish]
        if part == ";" and depth == 0 and block == 0:
            if start is not None:
                yield Statement(text[start:end], line, " ".join(words[:3]))
            start, words = None, []
            continue
        if start is None:
            start, line, counted = begin, line + text.count("\n", counted, begin), begin
        end = finish
        if part == "\\":
            raise UnreadableError("A backslash begins a command of psql, which does not run here", _line(text, begin))
        if part in "()":
            depth += 1 if part == "(" else -1
        if kind == "word":
            words.append(part.upper())
            if words[0] == "COPY" and words[-2:] in (["FROM", "STDIN"], ["TO", "STDOUT"]):
                raise UnreadableError("COPY cannot use the client's input or output: write INSERT", line)
            block = _block_depth(block, words)
    if start is not None:
        yield Statement(text[start:end], line, " ".join(words[:3]))


def tokens(text: str) -> list[str]:
    """Return what a statement consists of, without white space and comments."""
    return [text[begin:end] for _, begin, end in _tokens(text)]


def identifier(token: str) -> str:
    """Return the name that PostgreSQL reads in a token: as it is quoted, or folded to lower case."""
    if token.startswith('"'):
        name = token[1:-1].replace('""', '"')
    else:
        name = "".join(letter.lower() if letter.isascii() else letter for letter in token)
    return name.encode()[:LONGEST_NAME_BYTES].decode(errors="ignore")


def _block_depth(depth: int, words: list[str]) -> int:
    """Follow BEGIN ATOMIC … END, in which CASE … END may nest."""
    if depth == 0:
        return int(words[-2:] == ["BEGIN", "ATOMIC"] and _ROUTINE.match(" ".join(words)) is not None)
    return depth + {"CASE": 1, "END": -1}.get(words[-1], 0)


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield what counts: no white space, no comments, quotations whole."""
    position = 0
    while match := _TOKEN.match(text, position):
        begin, finish, kind = match.start(), match.end(), match.lastgroup or ""
        if kind == "comment":
            finish = _comment_end(text, begin)
        elif kind == "dollar":
            finish = text.find(match[0], finish) + len(match[0])
            if finish < match.end():
                raise UnreadableError(f"The quotation {match[0]} does not end", _line(text, begin))
        elif kind == "unclosed":
            raise UnreadableError(f"The quotation {match[0]} does not end", _line(text, begin))
        if kind not in ("space", "comment"):
            yield kind, begin, finish
        position = finish


def _comment_end(text: str, begin: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, begin):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise UnreadableError("The comment /* does not end", _line(text, begin))


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
