"""IAM's policy simulator."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse

from local.aws.iam import role_allows
from local.aws.moto import Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    policies_can_be_simulated(moto)


def policies_can_be_simulated(moto: Moto) -> None:
    """SimulatePrincipalPolicy judges each action on each resource by the policies of a role, and nothing else.

    IAM API reference, SimulatePrincipalPolicy: EvalDecision is allowed, explicitDeny or implicitDeny; here every denial
    is implicitDeny. A key's own policy counts as well, which on AWS only ResourcePolicy brings in: of a key that lets
    the account decide, as the modules' keys do, that is the same.
    """

    @moto.add(IamResponse)
    def simulate_principal_policy(self: Any) -> ActionResult:
        role = self._get_param("PolicySourceArn")
        self.backend.get_role_by_arn(role)
        given = self._get_param("ContextEntries") or []
        context = {entry["ContextKeyName"]: entry["ContextKeyValues"][0] for entry in given}
        results = [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": "allowed" if role_allows(role, action, resource, context) else "implicitDeny",
                "MatchedStatements": [],
                "MissingContextValues": [],
            }
            for action in self._get_param("ActionNames")
            for resource in self._get_param("ResourceArns") or ["*"]
        ]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})
