"""Metric math: the part of CloudWatch's that alarms here need. What is not known is refused by name.

CloudWatch User Guide, "Using math expressions with CloudWatch metrics": missing values count as 0 beside others, what
is divided by 0 is dropped, comparisons are 0 or 1; the tables of IF there are tests here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Series = dict[int, float]  # by time; a time without a value is missing
Value = float | Series | list[Series]

FUNCTIONS = ("IF", "FILL", "MAX", "MIN", "SUM", "AVG", "ABS")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|==|!=|&&|\|\||[-+*/^()<>,\[\]]))"
)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}
_SYNONYMS = {"AND": "&&", "OR": "||"}
_ARGUMENTS = {"IF": (2, 3), "FILL": (2, 2)}  # the others have one


class ExpressionError(Exception):
    """Why an expression is refused."""


@dataclass(frozen=True)
class _Operation:
    name: str
    arguments: tuple[_Node, ...]


@dataclass(frozen=True)
class _Reference:
    name: str


_Node = float | _Reference | _Operation


class Expression:
    """An expression that was understood."""

    def __init__(self, text: str) -> None:
        self._root = _Parser(text).parse()

    @property
    def ids(self) -> set[str]:
        """The metrics and expressions that it refers to."""
        return {node.name for node in _walk(self._root) if isinstance(node, _Reference)} - {"REPEAT"}

    def evaluate(self, values: Mapping[str, Value], times: Sequence[int]) -> Series:
        """Return a value for each of these times, as far as there is one."""
        result = _Evaluation(values, times).value(self._root)
        if not isinstance(result, dict):
            kind = "a number" if isinstance(result, float) else "several time series"
            raise ExpressionError(f"The result of an expression must be one time series, not {kind}.")
        return {time: value for time, value in result.items() if time in set(times)}


def _walk(node: _Node) -> Iterable[_Node]:
    yield node
    if isinstance(node, _Operation):
        for argument in node.arguments:
            yield from _walk(argument)


class _Parser:
    """Precedence from low to high: OR, AND, comparison, sum, product, sign, power."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text)
        self._position = 0

    def parse(self) -> _Node:
        node = self._binary(0)
        if self._next is not None:
            raise ExpressionError(f"Unexpected {self._next!r} in {self._text!r}.")
        return node

    _LEVELS = (("||",), ("&&",), tuple(_COMPARISONS), ("+", "-"), ("*", "/"))

    @staticmethod
    def _split(text: str) -> list[tuple[str, str]]:
        tokens, position = [], 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise ExpressionError(f"The local stack cannot read {text[position:].strip()[:20]!r} in {text!r}.")
            word = found[found.lastgroup]
            kind = "sign" if word in _SYNONYMS else found.lastgroup
            tokens.append((kind, _SYNONYMS.get(word, word)))
            position = found.end()
        return tokens

    @property
    def _next(self) -> str | None:
        return self._tokens[self._position][1] if self._position < len(self._tokens) else None

    def _take(self, *expected: str) -> tuple[str, str]:
        if self._next is None or (expected and self._next not in expected):
            wanted = f", {' or '.join(expected)} was expected" if expected else ""
            raise ExpressionError(f"{self._text!r} ends too early or goes wrong at {self._next!r}{wanted}.")
        self._position += 1
        return self._tokens[self._position - 1]

    def _binary(self, level: int) -> _Node:
        if level == len(self._LEVELS):
            return self._sign()
        node = self._binary(level + 1)
        while self._next in self._LEVELS[level]:
            _, sign = self._take()
            node = _Operation(sign, (node, self._binary(level + 1)))
        return node

    def _sign(self) -> _Node:
        if self._next == "-":
            self._take()
            return _Operation("-", (0.0, self._sign()))
        node = self._operand()
        if self._next == "^":
            self._take()
            node = _Operation("^", (node, self._sign()))
        return node

    def _operand(self) -> _Node:
        kind, word = self._take()
        if kind == "number":
            return float(word)
        if word == "(":
            node = self._binary(0)
            self._take(")")
            return node
        if word == "[":
            return _Operation("[]", self._list("]"))
        if kind == "name" and self._next == "(":
            if word not in FUNCTIONS:
                known = ", ".join(FUNCTIONS)
                raise ExpressionError(f"The local stack does not know {word}() of metric math, only {known}.")
            self._take("(")
            arguments = self._list(")")
            least, most = _ARGUMENTS.get(word, (1, 1))
            if not least <= len(arguments) <= most:
                raise ExpressionError(f"{word} in {self._text!r} has {len(arguments)} arguments.")
            return _Operation(word, arguments)
        if kind == "name" and (word[0].islower() or word == "REPEAT"):
            return _Reference(word)
        raise ExpressionError(f"Unexpected {word!r} in {self._text!r}: an id begins with a lowercase letter.")

    def _list(self, end: str) -> tuple[_Node, ...]:
        if self._next == end:
            self._take()
            return ()
        nodes = [self._binary(0)]
        while self._take(",", end)[1] == ",":
            nodes.append(self._binary(0))
        return tuple(nodes)


class _Evaluation:
    def __init__(self, values: Mapping[str, Value], times: Sequence[int]) -> None:
        self._values = values
        self._times = times

    def value(self, node: _Node) -> Value:
        if isinstance(node, float):
            return node
        if isinstance(node, _Reference):
            if node.name not in self._values:
                raise ExpressionError(f"No element of the request has the id {node.name}.")
            return self._values[node.name]
        if node.name in _COMPARISONS or node.name in _ARITHMETIC or node.name in _SYNONYMS.values():
            left, right = (self.value(argument) for argument in node.arguments)
            return _pairwise(node.name, left, right)
        return self._call(node.name, node.arguments)

    def _call(self, name: str, arguments: tuple[_Node, ...]) -> Value:
        if name == "IF":
            return self._if(*arguments)
        if name == "FILL":
            return self._fill(*arguments)
        if name == "[]":
            return [series for argument in arguments for series in _array(self.value(argument))]
        value = self.value(arguments[0])
        return _each(value, abs) if name == "ABS" else _aggregate(name, value)

    def _if(self, condition: _Node, then: _Node, otherwise: _Node | None = None) -> Value:
        """Without a third argument what is false is dropped; where its series has no value it is 0.

        Except behind a number: IF(metric1, scalar2, metric3) drops what metric3 lacks. So the guide says.
        """
        test = self.value(condition)
        values = self.value(then), None if otherwise is None else self.value(otherwise)
        if isinstance(test, float):
            chosen = values[0] if test else values[1]
            if chosen is None:
                return {}
            return chosen if not isinstance(chosen, float) else dict.fromkeys(self._times, chosen)
        if not isinstance(test, dict):
            raise ExpressionError("The condition of IF must be one time series or a number.")
        result: Series = {}
        for time, truth in test.items():
            chosen = values[0] if truth else values[1]
            if isinstance(chosen, float):
                result[time] = chosen
            elif isinstance(chosen, dict):
                if time in chosen:
                    result[time] = chosen[time]
                elif truth or not isinstance(values[0], float):
                    result[time] = 0.0
        return result

    def _fill(self, series: _Node, filler: _Node) -> Value:
        given = self.value(series)
        if isinstance(given, float):
            raise ExpressionError("FILL fills a time series, not a number.")
        if isinstance(filler, _Reference) and filler.name == "REPEAT":
            filled = [self._repeat(one) for one in _array(given)]
        else:
            by = self.value(filler)
            if isinstance(by, list):
                raise ExpressionError("FILL takes a number, one time series or REPEAT.")
            spare = by if isinstance(by, dict) else dict.fromkeys(self._times, by)
            filled = [{**{time: spare[time] for time in self._times if time in spare}, **one} for one in _array(given)]
        return filled[0] if isinstance(given, dict) else filled

    def _repeat(self, series: Series) -> Series:
        filled, last = dict(series), None
        for time in sorted(self._times):
            last = series.get(time, last)
            if last is not None:
                filled[time] = last
        return filled


def _array(value: Value) -> list[Series]:
    if isinstance(value, float):
        raise ExpressionError("A number is no time series.")
    return value if isinstance(value, list) else [value]


def _each(value: Value, function: Callable[[float], float]) -> Value:
    if isinstance(value, float):
        return function(value)
    if isinstance(value, list):
        return [{time: function(one) for time, one in series.items()} for series in value]
    return {time: function(one) for time, one in value.items()}


def _aggregate(name: str, value: Value) -> Value:
    """Of one series a number, of several one series."""
    functions: dict[str, Callable[[list[float]], float]] = {
        "MAX": max,
        "MIN": min,
        "SUM": sum,
        "AVG": lambda values: sum(values) / len(values),
    }
    function = functions[name]
    if isinstance(value, float):
        return value
    if isinstance(value, dict):
        return float(function(list(value.values()))) if value else 0.0
    times = {time for series in value for time in series}
    missing_counts = name in ("SUM", "AVG")  # as 0; of the extremes the guide does not say so
    return {
        time: float(
            function([series.get(time, 0.0) for series in value if missing_counts or time in series]),
        )
        for time in times
    }


def _pairwise(sign: str, left: Value, right: Value) -> Value:
    if isinstance(left, list) or isinstance(right, list):
        lefts = left if isinstance(left, list) else [left] * len(_array(right))
        rights = right if isinstance(right, list) else [right] * len(lefts)
        return [series for one, other in zip(lefts, rights, strict=True) for series in _array(_two(sign, one, other))]
    return _two(sign, left, right)


def _two(sign: str, left: float | Series, right: float | Series) -> Value:
    if isinstance(left, float) and isinstance(right, float):
        result = _apply(sign, left, right)
        if result is None:
            raise ExpressionError("A number is divided by 0.")
        return result
    times = {time for value in (left, right) if isinstance(value, dict) for time in value}
    series: Series = {}
    for time in times:
        one = left if isinstance(left, float) else left.get(time, 0.0)
        other = right if isinstance(right, float) else right.get(time, 0.0)
        result = _apply(sign, one, other)
        if result is not None:
            series[time] = result
    return series


def _apply(sign: str, left: float, right: float) -> float | None:
    if sign in _COMPARISONS:
        return float(_COMPARISONS[sign](left, right))
    if sign == "&&":
        return float(bool(left) and bool(right))
    if sign == "||":
        return float(bool(left) or bool(right))
    try:
        return float(_ARITHMETIC[sign](left, right))
    except ZeroDivisionError:
        return None
