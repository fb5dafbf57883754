"""Find the places in HCL where one small change may make a module wrong.

It reads text formatted by terraform fmt, and needs no list of what the modules hold: a place is an argument, or a value
within one, wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Named by no argument of a resource that AWS sees.
META = {"count", "for_each", "provider", "lifecycle"}

_ARGUMENT = re.compile(r'^[ \t]*("[^"\n]+"|\w+)[ \t]*=(?![=>])[ \t]*', re.MULTILINE)
_BOOLEAN = re.compile(r"\b(true|false)\b")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_QUOTED_NUMBER = re.compile(r'"(\d+)"')
_ACTION = re.compile(r'"([a-z0-9-]+):([A-Z*][A-Za-z*]*)"')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_OPENING, _CLOSING = "{[(", "}])"


@dataclass(frozen=True)
class Mutation:
    """One change: the text from `start` to `end` becomes `after`."""

    file: Path
    line: int
    kind: str
    where: str
    start: int
    end: int
    before: str
    after: str

    @property
    def module(self) -> str:
        return self.file.parent.name

    def apply(self, text: str) -> str:
        return text[: self.start] + self.after + text[self.end :]

    def __str__(self) -> str:
        change = f"without {self.before}" if self.kind == "argument" else f"{self.before} -> {self.after}"
        return f"{self.file}:{self.line}: {self.where}: {change}"


@dataclass(frozen=True)
class _Argument:
    """name = value, with the headers of the blocks and objects around it."""

    name: str
    start: int
    value: int
    end: int
    around: tuple[str, ...]

    @property
    def block(self) -> str:
        """The address of the block at the top."""
        kind, *labels = re.findall(r"[\w-]+", self.around[0])
        return ".".join(labels) if kind == "resource" else ".".join([kind, *labels])

    @property
    def kind(self) -> str:
        return self.around[0].split()[0]

    @property
    def path(self) -> str:
        """What leads to it: resource.name.block.argument."""
        inner = [re.match(r'"?[\w:.-]*', header.split("=")[0].strip())[0].strip('"') for header in self.around[1:]]  # type: ignore[index]
        return ".".join([self.block, *(name for name in inner if name), self.name])

    @property
    def in_block(self) -> bool:
        """Whether it is an argument of a resource's block, not of an object's."""
        return all("=" not in header and "(" not in header and "[" not in header for header in self.around)

    def within(self, *headers: str) -> bool:
        return any(
            header.split("=")[0].split("{")[0].split()[:1] == [name] for header in self.around for name in headers
        )


def mutations(root: Path, folder: str = "modules") -> list[Mutation]:
    """Every single change to the modules under `root`."""
    found = []
    for path in sorted((root / folder).glob("*/*.tf")):
        if path.name != "versions.tf":
            found += in_text(path.read_text(), path.relative_to(root))
    return found


def in_text(text: str, file: Path) -> list[Mutation]:
    """Every single change to the text of one file."""
    code = _without_comments(text)
    found: dict[tuple[int, int, str], Mutation] = {}
    for argument in _arguments(code):
        for kind, start, end, after in _changes(code, argument):
            line = code.count("\n", 0, start) + 1
            before = argument.name if kind == "argument" else re.sub(r"\s+", " ", text[start:end])
            # What is nested in another argument is met there too; the innermost names it.
            found[start, end, after] = Mutation(file, line, kind, argument.path, start, end, before, after)
    return sorted(found.values(), key=lambda mutation: (mutation.start, mutation.end, mutation.after))


def _changes(code: str, argument: _Argument) -> Iterator[tuple[str, int, int, str]]:
    """Kind, start, end and new text of each change to one argument."""
    value = code[argument.value : argument.end]
    in_condition = argument.name in ("condition", "error_message") or argument.within(
        "validation", "precondition", "assert"
    )
    if argument.name in ("description", "error_message", "type", "Version", "Sid") and argument.kind != "variable":
        return
    settles = argument.name not in META and not in_condition and not argument.within("lifecycle")
    if argument.kind == "resource" and argument.in_block and settles:
        yield "argument", argument.start, argument.end, ""
    if argument.name == "Condition":
        yield "argument", argument.start, argument.end, ""
    if argument.name in ("error_message", "description"):
        return
    yield from _values(code, argument, "limit" if in_condition else "")
    outer = argument.name
    if outer == "Action" or (argument.kind in ("locals", "resource") and not in_condition):
        for found in _ACTION.finditer(value):
            if re.match(r"\s*=(?!=)", value[found.end() :]):
                continue  # a key
            start = argument.value + found.start()
            end = argument.value + found.end()
            service, name = found[1], found[2]
            yield "action", start, end, f'"{service}:{"Describe*" if name == "*" else "TagResource"}"'
            if name != "*":
                yield "action", start, end, f'"{service}:*"'
        if outer == "Action" and value.strip() == '"*"':
            yield "action", argument.value, argument.value + 3, '"ec2:*"'
    if outer in ("Resource", "principal") or (outer in ("Service", "AWS") and argument.within("Principal")):
        yield from _whom_and_what(argument, value)
    if outer == "Principal" and (found := re.match(r"\{ *(\w+) *= *", value)) and "\n" not in value:
        inner = _Argument(
            found[1], argument.start, argument.value + found.end(), argument.end - 2, (*argument.around, "Principal")
        )
        yield from _whom_and_what(inner, code[inner.value : inner.end])


def _whom_and_what(argument: _Argument, value: str) -> Iterator[tuple[str, int, int, str]]:
    start, end = argument.value, argument.value + len(value.rstrip())
    match argument.name:
        case "Resource":
            another = '"arn:aws:iam::111122223333:role/another"'
            yield "resource", start, end, another
            if value.strip() != '"*"':
                yield "resource", start, end, '"*"'
        case "AWS":
            another = '"arn:aws:iam::111122223333:user/another"'
            yield "principal", start, end, another
            if value.strip() != '"*"':
                yield "principal", start, end, '"*"'
        case "Service" | "principal":
            yield "principal", start, end, '"ec2.amazonaws.com"'


def _values(code: str, argument: _Argument, kind: str) -> Iterator[tuple[str, int, int, str]]:
    value = code[argument.value : argument.end]
    if argument.kind == "variable" and argument.name not in ("default", "type") and not kind:
        return
    bare = _STRING.sub(lambda found: " " * len(found[0]), value)  # strings blanked out
    for found in _BOOLEAN.finditer(bare):
        if not kind:
            other = "false" if found[1] == "true" else "true"
            yield "boolean", argument.value + found.start(), argument.value + found.end(), other
    for found in _NUMBER.finditer(bare):
        number = found[0]
        other = str(int(number) + 1) if "." not in number else f"{float(number) / 2:g}"
        yield kind or "number", argument.value + found.start(), argument.value + found.end(), other
    if not kind and argument.name == "value":
        for found in _QUOTED_NUMBER.finditer(value):
            other = {"0": '"1"', "1": '"0"'}.get(found[1], f'"{int(found[1]) + 1}"')
            yield "number", argument.value + found.start(), argument.value + found.end(), other


def _arguments(code: str) -> Iterator[_Argument]:
    """All arguments, those of nested blocks and objects after those around them."""
    spans = _spans(code)
    for found in _ARGUMENT.finditer(code):
        around = [span for span in spans if span[0] < found.start() < span[1]]
        if not around:
            continue
        headers = tuple(span[2] for span in around)
        yield _Argument(found[1].strip('"'), found.start(), found.end(), _end_of_value(code, found.end()), headers)


def _spans(code: str) -> list[tuple[int, int, str]]:
    """Start, end and header of every pair of braces that spans lines, from the outermost."""
    stack: list[int] = []
    found = []
    for place, character in _brackets(code):
        if character in _OPENING:
            stack.append(place)
        else:
            start = stack.pop()
            if code[start] == "{" and "\n" in code[start:place]:
                found.append((start, place, code[code.rfind("\n", 0, start) + 1 : start].strip()))
    return sorted(found)


def _brackets(code: str) -> Iterator[tuple[int, str]]:
    """The brackets that stand in no string; an interpolation belongs to its string."""
    place, depth, in_string = 0, 0, False
    interpolations: list[int] = []
    while place < len(code):
        character = code[place]
        if in_string:
            if character == "\\":
                place += 1
            elif code.startswith("${", place) and code[place - 1] != "$":
                interpolations.append(depth)
                in_string, depth = False, 0
                place += 1
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character == "}" and interpolations and depth == 0:
            depth, in_string = interpolations.pop(), True
        elif character in _OPENING or character in _CLOSING:
            depth += 1 if character in _OPENING else -1
            if not interpolations:
                yield place, character
        place += 1


def _end_of_value(code: str, start: int) -> int:
    """The end of the line on which every bracket that the value opened is closed."""
    depth = 0
    brackets = [(place, character) for place, character in _brackets(code[start:])]
    line = code.find("\n", start)
    for place, character in brackets:
        while depth == 0 and line != -1 and start + place > line:
            return line
        depth += 1 if character in _OPENING else -1
        if depth < 0:
            return start + place
        if depth == 0:
            line = code.find("\n", start + place)
    return line if line != -1 else len(code)


def _without_comments(text: str) -> str:
    """The text with its comments blanked out, so that every place stays where it is."""
    pattern = re.compile(r'"(?:[^"\\\n]|\\.)*"|(?:#|//)[^\n]*')
    return pattern.sub(lambda found: found[0] if found[0].startswith('"') else " " * len(found[0]), text)
