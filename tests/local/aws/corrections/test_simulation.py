"""IAM's policy simulator, which moto lacks."""

import pytest

from tests.local.account import Account, allow

DATABASE = "arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-0a/app"


@pytest.mark.parametrize(
    ("granted", "decision"),
    [
        (DATABASE, "allowed"),
        (DATABASE.replace("prx-0a", "prx-0b"), "implicitDeny"),
        (f"{DATABASE}_iam", "implicitDeny"),
    ],
)
def test_a_role_s_policy_is_judged_on_exactly_that_resource(account: Account, granted: str, decision: str) -> None:
    role = account.role(f"simulated-{abs(hash(granted))}", allow("rds-db:connect", granted))
    found = account.iam.simulate_principal_policy(
        PolicySourceArn=role, ActionNames=["rds-db:connect"], ResourceArns=[DATABASE]
    )["EvaluationResults"]
    assert [(result["EvalActionName"], result["EvalResourceName"]) for result in found] == [
        ("rds-db:connect", DATABASE)
    ]
    assert found[0]["EvalDecision"] == decision


def test_a_condition_is_judged_by_the_context_that_is_given(account: Account) -> None:
    condition = {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}}
    role = account.role("simulated-via", allow("secretsmanager:GetSecretValue", "*", **condition))

    def decision(**given: str) -> str:
        entries = [
            {"ContextKeyName": f"kms:{name}", "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in given.items()
        ]
        answer = account.iam.simulate_principal_policy(
            PolicySourceArn=role, ActionNames=["secretsmanager:GetSecretValue"], ContextEntries=entries
        )
        return str(answer["EvaluationResults"][0]["EvalDecision"])

    assert decision(ViaService="secretsmanager.us-east-1.amazonaws.com") == "allowed"
    assert decision() == "implicitDeny"


def test_a_role_that_is_not_there_is_an_error(account: Account) -> None:
    with pytest.raises(account.iam.exceptions.NoSuchEntityException):
        account.iam.simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:role/none", ActionNames=["rds-db:connect"]
        )
