"""local/aws/cloudwatch/alarm_rules.py: the rules of composite alarms."""

import pytest

from local.aws.cloudwatch.alarm_rules import AlarmRule, RuleError

STATES = {"a": "ALARM", "b": "OK", "c": "INSUFFICIENT_DATA", "with space": "ALARM", 'with "quotes"': "ALARM"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(a)", True),
        ("ALARM(b)", False),
        ("OK(b)", True),
        ("INSUFFICIENT_DATA(c)", True),
        ("ALARM(a) AND ALARM(b)", False),
        ("ALARM(a) OR ALARM(b)", True),
        ("ALARM(a) AND NOT ALARM(b)", True),
        ("NOT (ALARM(a) OR OK(b))", False),
        ("(ALARM(a) OR ALARM(b)) AND OK(c)", False),
        ("ALARM(b) AND ALARM(b) OR ALARM(a)", True),
        ("TRUE", True),
        ("FALSE", False),
        ("false", False),
        ('ALARM("with space")', True),
        (r'ALARM("with \"quotes\"")', True),
        ('ALARM("arn:aws:cloudwatch:us-east-1:123456789012:alarm:a")', True),
        ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:a)", True),
        ("\n  ALARM( a )\n  OR\n  ALARM(b)", True),
    ],
)
def test_rules(rule: str, expected: bool) -> None:
    assert AlarmRule.parse(rule).test(STATES.__getitem__) is expected


def test_children_are_named_once() -> None:
    assert AlarmRule.parse("ALARM(a) OR (ALARM(b) AND NOT OK(a))").children == ("a", "b")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("()", r"Unsupported token '\)' at char 1"),
        ("", "Unexpected end"),
        ("ALARM(a) ALARM(b)", "Unsupported token 'ALARM' at char 9"),
        ("ALARM(a) XOR ALARM(b)", "Unsupported token 'XOR'"),
        ("BROKEN(a)", "Unsupported token 'BROKEN' at char 0"),
        ("ALARM(with space)", "Unsupported token"),
        ("ALARM(a", "Unsupported token|Unexpected end"),
        ("AT_LEAST(1, ALARM, (a, b))", "does not know AT_LEAST"),
        (" OR ".join(f"ALARM(a{number})" for number in range(101)), "more than 100 underlying alarms"),
        (" OR ".join(["TRUE"] * 501), "more than 500 elements"),
    ],
)
def test_broken_rules_are_refused(rule: str, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        AlarmRule.parse(rule)
