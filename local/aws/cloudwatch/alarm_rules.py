"""The rule of a composite alarm: ALARM, OK and INSUFFICIENT_DATA of others, with AND, OR, NOT and brackets.

CloudWatch API Reference, PutCompositeAlarm; CloudWatch User Guide, "Composite alarms". AT_LEAST is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from local.aws.cloudwatch.evaluation import STATES

MOST_CHILDREN = 100
MOST_ELEMENTS = 500

_WORD = re.compile(r"\s*(?:(?P<bracket>[()])|(?P<word>[A-Za-z_]+)|(?P<other>\S))")
_CHILD = re.compile(r'\s*(?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<plain>[^\s(),"]+))\s*\)')

Test = Callable[[Callable[[str], str]], bool]  # given how to look up a state


class RuleError(Exception):
    """Why a rule is refused."""


@dataclass(frozen=True)
class AlarmRule:
    """A rule that was understood. `children` are the names of the alarms in it, in their order."""

    children: tuple[str, ...]
    test: Test

    @classmethod
    def parse(cls, text: str) -> AlarmRule:
        parser = _Parser(text)
        test = parser.parse()
        return cls(tuple(dict.fromkeys(parser.children)), test)


class _Parser:
    """Precedence from low to high: OR, AND, NOT. What CloudWatch's is without brackets is not documented."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._elements = 0
        self.children: list[str] = []

    def parse(self) -> Test:
        test = self._or()
        if self._peek() is not None:
            raise self._unsupported()
        if len(set(self.children)) > MOST_CHILDREN:
            raise RuleError(f"The AlarmRule has more than {MOST_CHILDREN} underlying alarms.")
        if self._elements > MOST_ELEMENTS:
            raise RuleError(f"The AlarmRule has more than {MOST_ELEMENTS} elements.")
        return test

    def _or(self) -> Test:
        tests = [self._and()]
        while self._peek() == "OR":
            self._take()
            tests.append(self._and())
        return tests[0] if len(tests) == 1 else lambda state: any(test(state) for test in tests)

    def _and(self) -> Test:
        tests = [self._not()]
        while self._peek() == "AND":
            self._take()
            tests.append(self._not())
        return tests[0] if len(tests) == 1 else lambda state: all(test(state) for test in tests)

    def _not(self) -> Test:
        if self._peek() == "NOT":
            self._take()
            test = self._not()
            return lambda state: not test(state)
        return self._term()

    def _term(self) -> Test:
        word = self._peek()
        if word == "(":
            self._take()
            test = self._or()
            self._take(")")
            self._elements += 2
            return test
        if word in ("TRUE", "FALSE"):
            self._take()
            self._elements += 1
            return lambda _: word == "TRUE"
        if word in STATES:
            return self._child(str(word))
        if word == "AT_LEAST":
            raise RuleError("The local stack does not know AT_LEAST in an AlarmRule.")
        raise self._unsupported()

    def _child(self, wanted: str) -> Test:
        self._take()
        self._take("(")
        found = _CHILD.match(self._text, self._position)
        if found is None:
            raise self._unsupported()
        self._position = found.end()
        self._elements += 1
        quoted = found["quoted"]
        name = found["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        name = re.sub(r"^arn:[^:]+:cloudwatch:[^:]*:[^:]*:alarm:", "", name)
        self.children.append(name)
        return lambda state: state(name) == wanted

    def _peek(self) -> str | None:
        found = _WORD.match(self._text, self._position)
        if found is None:
            return None
        word = found[found.lastgroup or 0]
        return word.upper() if found.lastgroup == "word" else word

    def _take(self, expected: str | None = None) -> None:
        found = _WORD.match(self._text, self._position)
        if found is None or (expected is not None and self._peek() != expected):
            raise self._unsupported()
        self._position = found.end()

    def _unsupported(self) -> RuleError:
        """The words are those of aws/aws-cdk#34662."""
        found = _WORD.match(self._text, self._position)
        if found is None:
            return RuleError(f"Error in AlarmRule [Unexpected end at char {len(self._text)}]")
        place = found.start(found.lastgroup or 0)
        return RuleError(f"Error in AlarmRule [Unsupported token '{found[found.lastgroup or 0]}' at char {place}]")
