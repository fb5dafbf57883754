"""Evaluate IAM policy documents: an explicit Deny wins, then an Allow is needed.

Not evaluated: policy variables such as ${aws:username}. A condition operator that is not known here never grants and
always denies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Document = Mapping[str, Any]
Context = Mapping[str, str]

# By kind, AWS or Service: the names that a principal goes by.
Principals = Mapping[str, tuple[str, ...]]


def allows(documents: Iterable[Document], action: str, resource: str | None, context: Context | None = None) -> bool:
    """Tell whether the policies, taken together, allow an action.

    `resource` None stands for one that is not known: then an Allow on any resource will do, and only a Deny on all
    resources denies.
    """
    effects = {
        statement["Effect"]
        for document in documents
        for statement in _listed(document["Statement"])
        if _applies(statement, action, resource, context or {})
    }
    return "Allow" in effects and "Deny" not in effects


def effects(
    document: Document, who: Principals, action: str, resource: str = "*", context: Context | None = None
) -> set[str]:
    """Return what a policy that hangs at a resource (a key, an endpoint, a role) says to these names of a principal."""
    return {
        statement["Effect"]
        for statement in _listed(document["Statement"])
        if _names(statement, who) and _applies({"Resource": "*"} | statement, action, resource, context or {})
    }


def permits(
    document: Document, who: Principals, action: str, resource: str = "*", context: Context | None = None
) -> bool:
    """Tell whether such a policy lets them do it."""
    return effects(document, who, action, resource, context) == {"Allow"}


def trusts(document: Document, service: str, context: Context | None = None) -> bool:
    """Tell whether a role's trust policy lets a service assume it."""
    return permits(document, {"Service": (service,)}, "sts:AssumeRole", context=context)


def account(arn: str) -> Principals:
    """Return the names of the account of an ARN: a key's policy that lets it do something leaves the rest to IAM."""
    _, partition, _, _, number, _ = arn.split(":", 5)
    return {"AWS": (f"arn:{partition}:iam::{number}:root", number)}


def _names(statement: Document, who: Principals) -> bool:
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    named = principal == "*" or any(
        pattern in names or (kind == "AWS" and pattern == "*")
        for kind, names in who.items()
        for pattern in _listed((principal or {}).get(kind))
    )
    return named is not ("NotPrincipal" in statement)


def _applies(statement: Document, action: str, resource: str | None, context: Context) -> bool:
    deny = statement["Effect"] == "Deny"
    return (
        _element(statement, "Action", lambda pattern: like(pattern.lower(), action.lower()))
        and _element(statement, "Resource", lambda pattern: _covers(pattern, resource, deny=deny))
        and all(
            _condition(operator, key, _listed(expected), context, unknown=deny)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _element(statement: Document, name: str, matches: Callable[[str], bool]) -> bool:
    if f"Not{name}" in statement:
        return not any(matches(pattern) for pattern in _listed(statement[f"Not{name}"]))
    return any(matches(pattern) for pattern in _listed(statement.get(name)))


def _covers(pattern: str, resource: str | None, *, deny: bool) -> bool:
    if resource is None:
        return pattern == "*" if deny else True
    return like(pattern, resource)


def _condition(operator: str, key: str, expected: list[Any], context: Context, *, unknown: bool) -> bool:
    values = {name.lower(): value for name, value in context.items()}
    actual = values.get(key.lower())
    operator, if_exists = operator.removesuffix("IfExists"), operator.endswith("IfExists")
    if operator == "Null":
        return str(actual is None).lower() in [str(value).lower() for value in expected]
    if operator not in _OPERATORS:
        return unknown
    negated = "Not" in operator
    if actual is None:
        return negated or if_exists
    matched = any(_OPERATORS[operator](str(value), actual) for value in expected)
    return matched is not negated


def like(pattern: str, value: str) -> bool:
    """Match IAM's two wildcards, * and ?."""
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _same(expected: str, actual: str) -> bool:
    return expected == actual


def _same_but_for_case(expected: str, actual: str) -> bool:
    return expected.lower() == actual.lower()


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _same,
    "StringNotEquals": _same,
    "StringEqualsIgnoreCase": _same_but_for_case,
    "StringNotEqualsIgnoreCase": _same_but_for_case,
    "StringLike": like,
    "StringNotLike": like,
    "ArnEquals": like,
    "ArnNotEquals": like,
    "ArnLike": like,
    "ArnNotLike": like,
    "Bool": _same_but_for_case,
}


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
