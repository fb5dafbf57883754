"""Policy documents mean here what they mean to IAM."""

from typing import Any

import pytest

from local.aws import iam_policies

USER = "arn:aws:rds-db:us-east-1:123456789012:dbuser:db-ABC/app"


def statement(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": "rds-db:connect", "Resource": USER} | elements


def allowed(*statements: dict[str, Any], action: str = "rds-db:connect", resource: str | None = USER, **context: str):
    names = {name.replace("__", ":"): value for name, value in context.items()}
    return iam_policies.allows([{"Statement": list(statements)}], action, resource, names)


def test_nothing_is_allowed_by_default():
    assert not iam_policies.allows([], "rds-db:connect", USER)


def test_a_single_statement_needs_no_list():
    assert iam_policies.allows([{"Statement": statement()}], "rds-db:connect", USER)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (USER, True),
        ("*", True),
        (USER.replace("app", "*"), True),
        (USER.replace("app", "ap?"), True),
        (USER.replace("app", "a?"), False),
        (USER.replace("app", "App"), False),
        (USER.replace("db-ABC", "db-XYZ"), False),
        (USER.replace("-", "."), False),
        (USER[:-1], False),
    ],
)
def test_resources_match_with_wildcards_only(pattern, matches):
    assert allowed(statement(Resource=pattern)) is matches


def test_actions_match_in_any_case():
    assert allowed(statement(Action=["s3:*", "RDS-DB:Connect"]))
    assert not allowed(statement(Action="rds:*"))


def test_deny_wins():
    assert not allowed(statement(), statement("Deny", Resource="*"))
    assert allowed(statement(), statement("Deny", Resource="arn:aws:s3:::*"))


def test_not_action_and_not_resource():
    other = statement()
    del other["Action"], other["Resource"]
    assert allowed(other | {"NotAction": "s3:*", "NotResource": "arn:aws:s3:::*"})
    assert not allowed(other | {"NotAction": "rds-db:*", "Resource": "*"})
    assert not allowed(other | {"Action": "*", "NotResource": USER})


@pytest.mark.parametrize(
    ("operator", "expected", "actual", "holds"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a", "b", False),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", "a", None, True),
        ("StringLike", "a*", "abc", True),
        ("ArnLike", "arn:aws:lambda:*:*:function:app-*", "arn:aws:lambda:us-east-1:1:function:app-dev", True),
        ("ArnNotEquals", "arn:aws:s3:::b", "arn:aws:s3:::b", False),
        ("Bool", "true", "true", True),
        ("Null", "true", None, True),
        ("Null", "false", None, False),
        ("NumericLessThan", "3", "2", False),
    ],
)
def test_conditions(operator, expected, actual, holds):
    context = {} if actual is None else {"aws__Key": actual}
    assert allowed(statement(Condition={operator: {"AWS:key": expected}}), **context) is holds


def test_condition_that_cannot_be_evaluated_denies():
    assert not allowed(statement(), statement("Deny", Condition={"DateLessThan": {"aws:CurrentTime": "2020-01-01"}}))


def test_unknown_resource_needs_an_allow_on_any():
    assert allowed(statement(), resource=None)
    assert allowed(statement(), statement("Deny", Resource="arn:aws:s3:::*"), resource=None)
    assert not allowed(statement(), statement("Deny", Resource="*"), resource=None)


def test_trust_names_the_service():
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["rds.amazonaws.com"]}}
    assert iam_policies.trusts({"Statement": trust}, "rds.amazonaws.com")
    assert not iam_policies.trusts({"Statement": [trust]}, "lambda.amazonaws.com")
    assert not iam_policies.trusts({"Statement": [trust | {"Effect": "Deny"}]}, "rds.amazonaws.com")
