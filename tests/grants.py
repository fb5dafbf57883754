"""Policies as sentences, so that a test can say exactly what may be done."""

import json
from typing import Any


def grants(policy: str) -> set[str]:
    """One sentence an action: "Allow SERVICE sts:AssumeRole", "Allow kms:Decrypt on KEY if kms:ViaService is NAME"."""
    return {
        " ".join(part for part in (statement["Effect"], principal, action, resource, condition) if part)
        for statement in json.loads(policy)["Statement"]
        for principal in _principals(statement.get("Principal"))
        for action in _listed(statement["Action"])
        for resource in [f"on {resource}" for resource in _listed(statement.get("Resource"))] or [""]
        for condition in [_condition(statement.get("Condition", {}))]
    }


def _principals(principal: Any) -> list[str]:
    if not isinstance(principal, dict):
        return [principal or ""]
    return [name for names in principal.values() for name in _listed(names)]


def _condition(condition: dict[str, dict[str, Any]]) -> str:
    verbs = {"StringEquals": "is", "ArnEquals": "is", "ArnLike": "is like"}
    terms = [
        f"{key} {verbs.get(operator, operator)} {' or '.join(_listed(value))}"
        for operator, keys in condition.items()
        for key, value in keys.items()
    ]
    return f"if {' and '.join(terms)}" if terms else ""


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
